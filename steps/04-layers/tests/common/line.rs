//! A line to a server that breaks again and again, and a proxy.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Leads to a port of this machine. Its thread ends with the test program.
pub struct Line {
    pub port: u16,
    broken: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Line {
    /// So many connections break after so many bytes towards the server.
    pub fn to(server: u16, bytes: u64, breaks: usize) -> Line {
        Line::start(move |client, line| {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let most = match line.broken() < breaks {
                true => bytes,
                false => u64::MAX,
            };
            if carry(&client, &server, most) == bytes {
                line.broken.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// An HTTP proxy whose every CONNECT leads to the same port.
    pub fn proxy(server: u16) -> Line {
        Line::start(move |client, line| {
            let mut lines = BufReader::new(&client).lines();
            let first = lines.next().unwrap().unwrap();
            line.asked.lock().unwrap().push(first);
            // Headers, up to the empty line.
            while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {
            }
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
            (&client).write_all(answer).unwrap();
            carry(&client, &server, u64::MAX);
        })
    }

    fn start(serve: impl Fn(TcpStream, &Line) + Send + Sync + 'static) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (broken, asked) = (Arc::default(), Arc::default());
        let line = Line { port, broken, asked };
        let ours = Arc::new((line.clone(), serve));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, ours) = (client.unwrap(), Arc::clone(&ours));
                std::thread::spawn(move || (ours.1)(client, &ours.0));
            }
        });
        line
    }

    fn clone(&self) -> Line {
        let (broken, asked) = (self.broken.clone(), self.asked.clone());
        Line { port: self.port, broken, asked }
    }

    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    /// The first lines of the requests to the proxy.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Carries bytes both ways, then closes both. Returns how many went to the
/// server.
fn carry(client: &TcpStream, server: &TcpStream, most: u64) -> u64 {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*server, &mut &*client);
            let _ = client.shutdown(Shutdown::Both);
        });
        let went = io::copy(&mut client.take(most), &mut &*server);
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        went.unwrap_or(0)
    })
}
