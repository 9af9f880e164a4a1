//! The program `ringback`; everything it does is in the library.

fn main() {}
