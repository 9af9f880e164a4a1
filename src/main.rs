//! The program `ringback`; everything it does is in the library.

fn main() -> std::process::ExitCode {
    ringback::shell::cli::run()
}
