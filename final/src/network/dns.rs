//! The resolver at 127.0.0.11 that containers of user networks see.
//!
//! Its sockets are opened inside the container's network namespace, once;
//! from then on they can be served from anywhere, since a socket belongs to
//! the namespace it was opened in. Questions about containers are answered
//! here, everything else goes to the host's resolvers, from the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord,
    TYPE,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Error;
use super::nft::{Batch, Chain, Hook, Nft, Part, Port, Table};

/// Where containers find the resolver, as in Docker.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
/// Docker's time to live. Addresses change when containers restart, but
/// clients that cache are the exception.
const TTL: u32 = 600;
/// What a datagram may carry without being asked for more (RFC 1035).
const DATAGRAM: usize = 512;
const PATIENCE: Duration = Duration::from_secs(4);

/// Who knows the containers.
pub(super) trait Directory: Send + Sync + 'static {
    /// What `name` means for `container`; `None` if it is no container's.
    /// Names come in lower case and without the final dot.
    fn addresses(&self, container: &str, name: &str) -> Option<Vec<IpAddr>>;
    /// The container with this address, as seen by `container`.
    fn name_of(&self, container: &str, address: IpAddr) -> Option<String>;
    /// Who answers the rest; nobody for a container without a way out.
    fn upstreams(&self, container: &str) -> Vec<SocketAddr>;
}

/// The two sockets of a container's resolver.
#[derive(Debug)]
pub(super) struct Sockets {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

/// A resolver at work; dropping it closes its sockets.
#[derive(Debug)]
pub(super) struct Resolver {
    tasks: JoinSet<()>,
}

impl Sockets {
    /// Opens them in the calling thread's network namespace, which is new.
    ///
    /// A container may run a name server itself, on port 53 of all its
    /// addresses, and must find it free. So ours listens on any port, and
    /// port 53 of its address is rewritten to that, without connection
    /// tracking, which would cost every packet of the container.
    pub(super) fn open_first() -> Result<Sockets, Error> {
        // Nothing is replaced: whoever closes a connection to nf_tables
        // waits for what was deleted over it, some ten milliseconds.
        Sockets::open_with(Table::create)
    }

    /// The same in a namespace where a resolver may have been before.
    pub(super) fn open_again() -> Result<Sockets, Error> {
        Sockets::open_with(Table::replace)
    }

    fn open_with(how: fn(&Table) -> Batch) -> Result<Sockets, Error> {
        let sockets = Sockets::open_at(0)?;
        let rewritten = sockets.ports().and_then(|(udp, tcp)| {
            let table = how(&redirection(udp, tcp));
            Nft::open()?.commit("lead port 53 to the resolver", table)
        });
        match rewritten {
            Ok(()) => Ok(sockets),
            // A kernel without nf_tables.
            Err(_) => Sockets::open_at(PORT),
        }
    }

    fn open_at(port: u16) -> Result<Sockets, Error> {
        let at = SocketAddr::new(ADDRESS.into(), port);
        let failed = || Error::io("open the resolver's socket", at.to_string());
        let udp = std::net::UdpSocket::bind(at).map_err(failed())?;
        let tcp = std::net::TcpListener::bind(at).map_err(failed())?;
        udp.set_nonblocking(true).map_err(failed())?;
        tcp.set_nonblocking(true).map_err(failed())?;
        Ok(Sockets { udp, tcp })
    }

    /// Of UDP and of TCP.
    fn ports(&self) -> Result<(u16, u16), Error> {
        let failed = || Error::io("ask for the port of", "the resolver");
        let udp = self.udp.local_addr().map_err(failed())?;
        let tcp = self.tcp.local_addr().map_err(failed())?;
        Ok((udp.port(), tcp.port()))
    }
}

/// Questions to port 53 go to our ports, answers seem to come from 53.
fn redirection(udp: u16, tcp: u16) -> Table {
    let own = IpNet::from(std::net::IpAddr::from(ADDRESS));
    let mut rules = vec![vec![Part::NotTo("lo".into()), Part::Accept]];
    for (udp, ours) in [(true, udp), (false, tcp)] {
        let port = |source, number| Port { udp, source, number };
        rules.push(vec![
            Part::Destination(own),
            Part::Port(port(false, PORT)),
            Part::SetPort(port(false, ours)),
        ]);
        rules.push(vec![
            Part::Source(own),
            Part::Port(port(true, ours)),
            Part::SetPort(port(true, PORT)),
        ]);
    }
    let name = "resolver";
    let chain = Chain { name, hook: Some(Hook::Output), rules };
    Table { name: "skiff".into(), sets: vec![], chains: vec![chain] }
}

impl Resolver {
    /// Answers the questions of `container`.
    pub(super) fn start(
        runtime: &Handle,
        sockets: Sockets,
        container: &str,
        directory: Arc<dyn Directory>,
    ) -> Result<Resolver, Error> {
        let _entered = runtime.enter();
        let failed = || Error::io("watch the resolver's socket", container);
        let udp = UdpSocket::from_std(sockets.udp).map_err(failed())?;
        let tcp = TcpListener::from_std(sockets.tcp).map_err(failed())?;
        let asker = Asker { container: container.into(), directory };
        let mut tasks = JoinSet::new();
        tasks.spawn_on(datagrams(udp, asker.clone()), runtime);
        tasks.spawn_on(connections(tcp, asker), runtime);
        Ok(Resolver { tasks })
    }

    /// Stops and waits until the sockets are closed: they keep the network
    /// namespace alive. Not to be called from an async task.
    pub(super) fn stop(mut self, runtime: &Handle) {
        runtime.block_on(self.tasks.shutdown());
    }
}

/// A container with questions.
#[derive(Clone)]
struct Asker {
    container: String,
    directory: Arc<dyn Directory>,
}

async fn datagrams(socket: UdpSocket, asker: Asker) {
    let socket = Arc::new(socket);
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let query = buffer[..length].to_vec();
        match asker.answer(&query, DATAGRAM) {
            Answer::Here(reply) => {
                let _ = socket.send_to(&reply, client).await;
            }
            Answer::Elsewhere => {
                let (socket, asker) = (Arc::clone(&socket), asker.clone());
                tasks.spawn(async move {
                    let reply = asker.forward_datagram(&query).await;
                    let _ = socket.send_to(&reply, client).await;
                });
            }
            Answer::None => {}
        }
        // Forget those that are done.
        while tasks.try_join_next().is_some() {}
    }
}

async fn connections(listener: TcpListener, asker: Asker) {
    let mut tasks = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let asker = asker.clone();
        tasks.spawn(async move {
            let _ =
                tokio::time::timeout(PATIENCE * 4, asker.serve(client)).await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

enum Answer {
    Here(Vec<u8>),
    Elsewhere,
    /// Not a question.
    None,
}

impl Asker {
    /// Several questions may come over one connection, each behind its
    /// length (RFC 1035, 4.2.2).
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        loop {
            let query = receive(&mut client).await?;
            let reply = match self.answer(&query, usize::from(u16::MAX)) {
                Answer::Here(reply) => reply,
                Answer::Elsewhere => self.forward_stream(&query).await,
                Answer::None => return Ok(()),
            };
            send(&mut client, &reply).await?;
        }
    }

    fn answer(&self, query: &[u8], limit: usize) -> Answer {
        let Ok(packet) = Packet::parse(query) else { return Answer::None };
        if packet.has_flags(PacketFlag::RESPONSE) {
            return Answer::None;
        }
        let Some(question) = packet.questions.first() else {
            return Answer::None;
        };
        let Some(records) = self.records(question) else {
            return Answer::Elsewhere;
        };
        let reply = reply(&packet, RCODE::NoError, records, limit);
        reply.map_or(Answer::None, Answer::Here)
    }

    /// The answer's records; none of them if the name is known but has
    /// nothing of the wanted type; `None` if the name is not ours.
    fn records<'a>(
        &self,
        question: &Question<'a>,
    ) -> Option<Vec<ResourceRecord<'a>>> {
        let name = question.qname.to_string().to_ascii_lowercase();
        let record = |data| {
            let name = question.qname.clone();
            ResourceRecord::new(name, CLASS::IN, TTL, data)
        };
        if let Some(address) = reverse(&name) {
            let name = self.directory.name_of(&self.container, address)?;
            let name = Name::new(&name).ok()?.into_owned();
            let wanted = question.qtype == QTYPE::TYPE(TYPE::PTR);
            let data = RData::PTR(PTR(name));
            return Some(wanted.then(|| record(data)).into_iter().collect());
        }
        let addresses = self.directory.addresses(&self.container, &name)?;
        let data =
            addresses.into_iter().filter_map(|it| match (it, question.qtype) {
                (IpAddr::V4(it), QTYPE::TYPE(TYPE::A) | QTYPE::ANY) => {
                    Some(RData::A(A::from(it)))
                }
                (IpAddr::V6(it), QTYPE::TYPE(TYPE::AAAA) | QTYPE::ANY) => {
                    Some(RData::AAAA(AAAA::from(it)))
                }
                _ => None,
            });
        Some(data.map(record).collect())
    }

    async fn forward_datagram(&self, query: &[u8]) -> Vec<u8> {
        for server in self.directory.upstreams(&self.container) {
            let ask = ask_datagram(server, query);
            if let Ok(Ok(reply)) = tokio::time::timeout(PATIENCE, ask).await {
                return reply;
            }
        }
        failure(query)
    }

    async fn forward_stream(&self, query: &[u8]) -> Vec<u8> {
        for server in self.directory.upstreams(&self.container) {
            let ask = async {
                let mut stream = TcpStream::connect(server).await?;
                send(&mut stream, query).await?;
                receive(&mut stream).await
            };
            if let Ok(Ok(reply)) = tokio::time::timeout(PATIENCE, ask).await {
                return reply;
            }
        }
        failure(query)
    }
}

/// Every question goes out from a port of its own, which the kernel picks
/// at random: that, with the client's own number, is what a forger would
/// have to guess.
async fn ask_datagram(
    server: SocketAddr,
    query: &[u8],
) -> std::io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 2 && buffer[..2] == query[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend(message);
    stream.write_all(&whole).await
}

fn reply(
    query: &Packet<'_>,
    code: RCODE,
    records: Vec<ResourceRecord<'_>>,
    limit: usize,
) -> Option<Vec<u8>> {
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *reply.rcode_mut() = code;
    reply.questions = query.questions.clone();
    reply.answers = records;
    let bytes = reply.build_bytes_vec_compressed().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    // The client asks again over TCP.
    reply.answers.clear();
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.build_bytes_vec_compressed().ok()
}

fn failure(query: &[u8]) -> Vec<u8> {
    Packet::parse(query)
        .ok()
        .and_then(|it| reply(&it, RCODE::ServerFailure, vec![], DATAGRAM))
        .unwrap_or_default()
}

/// `2.0.17.172.in-addr.arpa` is 172.17.0.2.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets: Vec<&str> = labels.split('.').collect();
        octets.reverse();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let nibbles: Vec<u8> = name
        .strip_suffix(".ip6.arpa")?
        .split('.')
        .rev()
        .map(|it| u8::from_str_radix(it, 16).ok().filter(|it| *it < 16))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = nibbles
        .chunks(2)
        .map(|it| it[0] << 4 | it.get(1).unwrap_or(&0))
        .collect();
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Directory for One {
        fn addresses(&self, _: &str, name: &str) -> Option<Vec<IpAddr>> {
            (name == "web").then(|| vec!["172.18.0.2".parse().unwrap()])
        }

        fn name_of(&self, _: &str, address: IpAddr) -> Option<String> {
            (address.to_string() == "172.18.0.2").then(|| "web.mynet".into())
        }

        fn upstreams(&self, _: &str) -> Vec<SocketAddr> {
            vec![]
        }
    }

    fn ask(name: &str, kind: TYPE) -> Option<Vec<String>> {
        let asker = Asker { container: "c".into(), directory: Arc::new(One) };
        let mut query = Packet::new_query(7);
        let name = Name::new_unchecked(name);
        let kind = QTYPE::TYPE(kind);
        let class = simple_dns::QCLASS::CLASS(CLASS::IN);
        query.questions.push(Question::new(name, kind, class, false));
        let query = query.build_bytes_vec().unwrap();
        let Answer::Here(reply) = asker.answer(&query, DATAGRAM) else {
            return None;
        };
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!(reply.id(), 7);
        let all = reply.answers.iter().map(|it| match &it.rdata {
            RData::A(it) => Ipv4Addr::from(it.address).to_string(),
            RData::PTR(it) => it.0.to_string(),
            other => format!("{other:?}"),
        });
        Some(all.collect())
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(ask("WEB", TYPE::A), Some(vec!["172.18.0.2".into()]));
    }

    #[test]
    fn a_known_name_without_ipv6_has_an_empty_answer() {
        assert_eq!(ask("web", TYPE::AAAA), Some(vec![]));
    }

    #[test]
    fn unknown_names_are_somebody_elses() {
        assert_eq!(ask("debian.org", TYPE::A), None);
        assert_eq!(ask("1.1.1.1.in-addr.arpa", TYPE::PTR), None);
    }

    #[test]
    fn addresses_lead_back_to_names() {
        let got = ask("2.0.18.172.in-addr.arpa", TYPE::PTR);
        assert_eq!(got, Some(vec!["web.mynet".into()]));
    }

    #[test]
    fn reverse_names_are_read_in_both_families() {
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.\
                   0.0.d.f.ip6.arpa";
        assert_eq!(reverse(six), Some("fd00::1".parse().unwrap()));
        assert_eq!(reverse("web"), None);
    }
}
