use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// `docker attach`, from the client's side: asks for the connection itself,
/// sends `input`, and returns everything that the container says.
pub fn attach(mut stream: UnixStream, input: &[u8]) -> io::Result<Vec<u8>> {
    let request = "POST /containers/x/attach?stream=1&stdin=1 HTTP/1.1\r\n\
                   Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.contains(" 101 ") {
        return Err(io::Error::other(format!("refused: {}", line.trim())));
    }
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    // BEGIN
    stream.write_all(input)?;
    // The container's input is at its end; its output is not.
    stream.shutdown(Shutdown::Write)?;
    let mut output = Vec::new();
    // The reader may have taken more than the header, and still has it.
    reader.read_to_end(&mut output)?;
    Ok(output)
    // STARTER
    //= drop(reader);
    //= stream.write_all(input)?;
    //= let _ = Shutdown::Write;
    //= let mut output = Vec::new();
    //= stream.read_to_end(&mut output)?;
    //= Ok(output)
    // END
}
