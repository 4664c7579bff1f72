//! Tells cargo that the migrations are part of the program: `sqlx::migrate!` reads a folder, and cargo by itself
//! would not notice a file that is added to it.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
