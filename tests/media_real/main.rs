//! Media files judged by others' parts: what x264 encodes is muxed here, then decoded and
//! inspected by FFmpeg, OpenH264 and demultiplexers that share no code with this project.

mod fmp4;
mod material;
mod pixels;
mod ts;
