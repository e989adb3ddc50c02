//! A viewer as a player is one: a connection that is kept, a playlist that is asked for again and
//! again, segments. It takes nothing but whole answers.
#![allow(dead_code)] // Each user needs its own part of it.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection to a server on loopback, and what was last seen of one playlist.
pub struct Viewer {
    connection: BufReader<TcpStream>,
    /// The path of the playlist, without its file name.
    folder: String,
    etag: String,
    text: String,
}

/// A whole answer.
struct Answer {
    status: u16,
    etag: String,
    is_gzip: bool,
    body: Vec<u8>,
}

impl Viewer {
    /// Connects; `playlist` is the path of a `playlist.m3u8`.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(port: u16, playlist: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let folder = playlist.trim_end_matches("playlist.m3u8").to_owned();
        let connection = BufReader::with_capacity(64 << 10, stream);
        Ok(Self { connection, folder, etag: String::new(), text: String::new() })
    }

    /// Asks for the playlist; whether it is another one than before. What was not asked for is
    /// an error, and so is an answer that breaks off.
    ///
    /// # Errors
    /// Says what is wrong with the answer.
    pub async fn look(&mut self) -> io::Result<bool> {
        let headers = format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", self.etag);
        let answer = self.get("playlist.m3u8", &headers).await?;
        match answer.status {
            304 if !self.etag.is_empty() && answer.body.is_empty() => return Ok(false),
            200 if !answer.etag.is_empty() => {}
            status => return Err(wrong(format!("{status} for a playlist"))),
        }
        let mut text = String::new();
        match answer.is_gzip {
            true => GzDecoder::new(&answer.body[..]).read_to_string(&mut text).map(drop)?,
            false => text = String::from_utf8(answer.body).map_err(wrong)?,
        }
        if text == self.text {
            return Err(wrong(format!("the same playlist for {} and {}", self.etag, answer.etag)));
        }
        (self.etag, self.text) = (answer.etag, text);
        Ok(true)
    }

    /// The playlist as it was last seen.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The newest segment that the playlist lists.
    pub fn newest(&self) -> Option<&str> {
        self.text.lines().rev().find(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// Fetches a file that the playlist lists.
    ///
    /// # Errors
    /// Says what is wrong with the answer.
    pub async fn fetch(&mut self, uri: &str) -> io::Result<Vec<u8>> {
        let answer = self.get(uri, "").await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(wrong(format!("{status} for {uri}"))),
        }
    }

    async fn get(&mut self, uri: &str, headers: &str) -> io::Result<Answer> {
        let folder = &self.folder;
        let request = format!("GET {folder}{uri} HTTP/1.1\r\nHost: viewer\r\n{headers}\r\n");
        self.connection.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.connection.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("{line:?} for {uri}")))?;
        let mut answer = Answer { status, etag: String::new(), is_gzip: false, body: Vec::new() };
        let mut length = None;
        loop {
            line.clear();
            self.connection.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "etag" => answer.etag = value.to_owned(),
                "content-encoding" => answer.is_gzip = value == "gzip",
                "content-length" => length = value.parse().ok(),
                _ => {}
            }
        }
        if status != 304 {
            let length = length.ok_or_else(|| wrong(format!("{uri} has no length")))?;
            answer.body.resize(length, 0);
            self.connection.read_exact(&mut answer.body).await?;
        }
        Ok(answer)
    }
}

fn wrong(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
