//! A tiny registry in the test itself, which can be told to misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use layers::manifest::{Descriptor, Manifest, media};
use layers::{DiffId, Digest, ImageConfig, Platform, Reference};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Hang up after so many bytes of the body.
    pub cut: Option<usize>,
    /// Say this as the length.
    pub length: Option<usize>,
    /// Say nothing for so long, then hang up.
    pub silence: Option<Duration>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        let body = body.into();
        let (headers, cut, length, silence) = (Vec::new(), None, None, None);
        Answer { status, headers, body, cut, length, silence }
    }

    /// None at all.
    pub fn silence(time: Duration) -> Answer {
        Answer { silence: Some(time), ..Answer::new(0, "") }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Handler = Box<dyn Fn(&Request, &Content) -> Answer + Send + Sync>;

/// The server; stops when dropped.
pub struct Site {
    pub port: u16,
    pub content: Arc<Content>,
    pub log: Arc<Mutex<Vec<Request>>>,
    handler: Arc<Mutex<Arc<Handler>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One image, `app:1`.
pub struct Content {
    pub layer: Vec<u8>,
    pub manifest: Manifest,
    /// By path below `/v2/NAME/`, in whatever repository.
    files: HashMap<String, (String, Vec<u8>)>,
}

impl Content {
    pub fn new(change: impl Fn(&mut Manifest, &mut ImageConfig)) -> Content {
        let tar = super::tar(&[("hello", &super::noise(300_000, 7))]);
        let mut gzip = flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        );
        gzip.write_all(&tar).unwrap();
        let layer = gzip.finish().unwrap();
        let mut config = ImageConfig::scratch(&Platform::host());
        config.rootfs.diff_ids = vec![DiffId(Digest::of(&tar))];
        let describe = |kind: &str, bytes: &[u8]| {
            Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64)
        };
        let mut manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: describe(media::OCI_CONFIG, b""),
            layers: vec![describe(media::OCI_LAYER_GZIP, &layer)],
            annotations: None,
        };
        change(&mut manifest, &mut config);
        let config = config.to_bytes();
        let kind = manifest.config.media_type.clone();
        manifest.config = describe(&kind, &config);
        let mut files = HashMap::new();
        for blob in [&config, &layer] {
            let path = format!("blobs/{}", Digest::of(blob));
            let kind = "application/octet-stream".to_owned();
            files.insert(path, (kind, blob.clone()));
        }
        let bytes = serde_json::to_vec(&manifest).unwrap();
        for name in ["1".to_owned(), Digest::of(&bytes).to_string()] {
            let kind = media::OCI_MANIFEST.to_owned();
            files.insert(format!("manifests/{name}"), (kind, bytes.clone()));
        }
        Content { layer, manifest, files }
    }

    /// The answer of a registry that behaves.
    pub fn good(&self, request: &Request) -> Answer {
        if request.path == "/v2/" {
            return Answer::new(200, "{}");
        }
        let rest = ["manifests/", "blobs/"].iter().find_map(|kind| {
            request.path.find(kind).map(|at| &request.path[at..])
        });
        let found = rest.and_then(|path| self.files.get(path));
        match found {
            Some((kind, bytes)) => {
                Answer::new(200, bytes.clone()).with("Content-Type", kind)
            }
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    pub fn is_layer(&self, request: &Request) -> bool {
        request.path.ends_with(self.manifest.layers[0].digest.as_str())
    }
}

/// An error as registries word it.
pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({
        "errors": [{"code": code, "message": message}]
    });
    Answer::new(status, body.to_string())
}

impl Site {
    pub fn start(content: Content) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let handler: Handler =
            Box::new(|request, content| content.good(request));
        let mut site = Site {
            port,
            content: Arc::new(content),
            log: Arc::default(),
            handler: Arc::new(Mutex::new(Arc::new(handler))),
            stop: Arc::default(),
            thread: None,
        };
        let (content, log) = (Arc::clone(&site.content), Arc::clone(&site.log));
        let handler = Arc::clone(&site.handler);
        let stop = Arc::clone(&site.stop);
        site.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let handler = Arc::clone(&handler.lock().unwrap());
                let (content, log) = (Arc::clone(&content), Arc::clone(&log));
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    write(stream, &request, handler(&request, &content));
                });
            }
        }));
        site
    }

    /// From now on answers like this.
    pub fn behave(
        &self,
        handler: impl Fn(&Request, &Content) -> Answer + Send + Sync + 'static,
    ) {
        let handler: Handler = Box::new(handler);
        *self.handler.lock().unwrap() = Arc::new(handler);
    }

    pub fn behave_well(&self) {
        self.behave(|request, content| content.good(request));
    }

    pub fn reference(&self) -> Reference {
        format!("127.0.0.1:{}/app:1", self.port).parse().unwrap()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut stream = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length");
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

fn write(mut stream: TcpStream, request: &Request, answer: Answer) {
    if let Some(time) = answer.silence {
        return std::thread::sleep(time);
    }
    let length = answer.length.unwrap_or(answer.body.len());
    let mut head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {length}\r\n",
        answer.status
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let end = answer.cut.unwrap_or(answer.body.len());
    let body = match request.method.as_str() {
        "HEAD" => &[],
        _ => &answer.body[..end.min(answer.body.len())],
    };
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}
