//! Prints the API's contract: `cargo run -p fanfare-api --example openapi > docs/openapi.json`.

fn main() {
    println!("{}", fanfare_api::openapi());
}
