//! Several nats-servers: three that `up` runs itself, and the ones that `deploy/nats` describes.

mod deployed;
mod fanfare;
mod keys;
mod shipped;
mod up;
