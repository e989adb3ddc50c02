fn main() -> std::process::ExitCode {
    stream_processor::cmd::encode_helper::run()
}
