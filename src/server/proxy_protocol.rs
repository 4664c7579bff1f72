//! The PROXY protocol, versions 1 and 2: who connected to the load balancer that connects to us.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. A listener that is set so expects its header
//! before anything else, from the balancer's networks only; from anybody else, and where there is none, the connection
//! is closed, as the specification demands: a header that were optional could be forged. `LOCAL` (v2) and `UNKNOWN`
//! (v1), which balancers send with their own probes, leave the address of the connection itself.
//!
//! Read byte by byte to its end and no further: what follows is TLS or HTTP.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of a version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest version 1 header (section 2.1).
const LONGEST_V1: usize = 107;
/// The longest version 2 header that is read: addresses and the type-length-values of today's balancers are far shorter.
const LONGEST_V2: usize = 4096;

/// Reads the header; answers whom it names as the client, or `None` for a probe of the balancer itself.
///
/// # Errors
/// Kind `InvalidData` when there is no such header; or what reading fails with.
pub(super) async fn client(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(16, 0);
        stream.read_exact(&mut header[12..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > LONGEST_V2 {
            return Err(invalid("a PROXY header that is too long"));
        }
        header.resize(16 + length, 0);
        stream.read_exact(&mut header[16..]).await?;
        return version_2(&header);
    }
    while !header.ends_with(b"\r\n") {
        if header.len() == LONGEST_V1 || !header.starts_with(b"PROXY ") {
            return Err(invalid("no PROXY header"));
        }
        header.push(stream.read_u8().await?);
    }
    version_1(&header)
}

fn version_1(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v1::Header::try_from(header).map_err(|error| invalid(error.to_string()))?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(tcp) => Some((IpAddr::V4(tcp.source_address), tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((IpAddr::V6(tcp.source_address), tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

fn version_2(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v2::Header::try_from(header).map_err(|error| invalid(error.to_string()))?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(ip) => Some((IpAddr::V4(ip.source_address), ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((IpAddr::V6(ip.source_address), ip.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of some bytes, and what is left of them.
    async fn read(bytes: &[u8]) -> (Result<Option<String>, io::ErrorKind>, Vec<u8>) {
        let mut stream = bytes;
        let told = client(&mut stream).await;
        (
            told.map(|client| client.map(|client| client.to_string())).map_err(|error| error.kind()),
            stream.to_vec(),
        )
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses, b"GET /"].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_what_follows_stays() {
        let told = |text: &str| (Ok(Some(text.to_owned())), b"GET /".to_vec());
        assert_eq!(
            read(b"PROXY TCP4 192.0.2.1 198.51.100.7 5678 443\r\nGET /").await,
            told("192.0.2.1:5678")
        );
        assert_eq!(
            read(b"PROXY TCP6 2001:db8::1 2001:db8::2 5678 443\r\nGET /").await,
            told("[2001:db8::1]:5678")
        );
        let four = [192, 0, 2, 1, 198, 51, 100, 7, 0x16, 0x2e, 1, 187];
        assert_eq!(read(&v2(0x21, 0x11, &four)).await, told("192.0.2.1:5678"));
        let with_more = [&four[..], &[0x04, 0, 1, 0xff]].concat();
        assert_eq!(read(&v2(0x21, 0x11, &with_more)).await, told("192.0.2.1:5678"));
        let mut six = [0u8; 36];
        (six[0], six[1], six[15], six[32], six[33]) = (0x20, 0x01, 1, 0x16, 0x2e);
        assert_eq!(read(&v2(0x21, 0x21, &six)).await, told("[2001::1]:5678"));
    }

    #[tokio::test]
    async fn probes_of_the_balancer_name_nobody() {
        assert_eq!(read(b"PROXY UNKNOWN\r\nGET /").await, (Ok(None), b"GET /".to_vec()));
        assert_eq!(read(&v2(0x20, 0x00, &[])).await, (Ok(None), b"GET /".to_vec()));
        assert_eq!(read(&v2(0x20, 0x11, &[0; 12])).await, (Ok(None), b"GET /".to_vec()));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 300]].concat();
        let too_long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 70_000]].concat();
        for bytes in [
            b"GET /v1/check HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".to_vec(),
            b"PROXY TCP4 192.0.2.1\r\nGET /".to_vec(),
            b"PROXY TCP4 999.0.2.1 198.51.100.7 5678 443\r\n".to_vec(),
            endless,
            too_long,
            v2(0x31, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 4]),
        ] {
            assert_eq!(read(&bytes).await.0, Err(io::ErrorKind::InvalidData), "{bytes:.40?}");
        }
        assert_eq!(read(b"PROXY TCP4").await.0, Err(io::ErrorKind::UnexpectedEof));
    }
}
