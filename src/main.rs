//! The binary: hands over to the command line and exits with its code. Does nothing else.

fn main() -> std::process::ExitCode {
    deltakeep::cli::main()
}
