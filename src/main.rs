//! The encode helper alone, until the commands are there.

fn main() -> std::process::ExitCode {
    stream_processor::cmd::encode_helper::run()
}
