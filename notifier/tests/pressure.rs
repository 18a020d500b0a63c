//! Lanes under pressure, against a real broker and the doubles of the providers: what one app's
//! provider does must not be felt by another app, and an alert does not wait for a bulk fan-out.

#[path = "pressure/ahead.rs"]
mod ahead;
#[path = "pressure/apps.rs"]
mod apps;
#[path = "pressure/lanes.rs"]
mod lanes;
#[path = "pressure/stage.rs"]
mod stage;
