//! What a flow step costs without the world.
fn main() {
    divan::main();
}
