//! A light HTTP/1.1 client: fixed request bytes, and of an answer only what is needed. The load shares the cores with
//! what it measures.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header; its name in lower case, as hyper writes it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).ok()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request and waits for its answer, of which only the status is kept.
    pub async fn send(&mut self, request: &[u8]) -> Result<u16> {
        let (status, head, length) = self.exchange(request).await?;
        self.buffer.drain(..head + length);
        Ok(status)
    }

    /// The same, with the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Reply> {
        let (status, head, length) = self.exchange(request).await?;
        let mut taken: Vec<u8> = self.buffer.drain(..head + length).collect();
        let body = taken.split_off(head);
        Ok(Reply { status, head: taken, body })
    }

    /// A request that must succeed.
    pub async fn must(&mut self, request: &[u8]) -> Result<Reply> {
        let reply = self.ask(request).await?;
        if !(200..300).contains(&reply.status) {
            bail!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        Ok(reply)
    }

    /// Status, length of the head, length of the body; both are then in the buffer.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize, usize)> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let text = std::str::from_utf8(self.buffer.get(..head).unwrap_or_default())?;
        let status = text.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status")?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map(str::parse).transpose()?.unwrap_or(0);
        while self.buffer.len() < head + length {
            self.fill().await?;
        }
        Ok((status, head, length))
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

/// The bytes of a request with a JSON body.
pub fn with_json(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length:";
    format!("{method} {path} {head} {length}\r\n\r\n{body}").into_bytes()
}

/// The bytes of a GET.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// The bytes of a GET of a stream, from `position` on if there is one.
pub fn get_stream(path: &str, position: Option<&str>) -> Vec<u8> {
    let resume = position.map(|position| format!("last-event-id: {position}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{resume}\r\n").into_bytes()
}
