//! Commands in Redis' own protocol: what is the same for every message of a channel is written once.

use crate::encode::decimal;

/// The beginnings of a channel's commands.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    publish: Vec<u8>,
    append: Vec<u8>,
    set: Vec<u8>,
    set_tail: Vec<u8>,
    delete: Vec<u8>,
}

impl Heads {
    /// Those of the channel `{prefix}{name}`, the key `{prefix}latest:{name}` and the stream `{prefix}stream:{name}`.
    pub(super) fn new(prefix: &str, name: &str, ttl_ms: u64, stream_length: u64) -> Self {
        let (channel, key) = (format!("{prefix}{name}"), format!("{prefix}latest:{name}"));
        let (stream, length, ttl) = (format!("{prefix}stream:{name}"), stream_length.to_string(), ttl_ms.to_string());
        let mut set_tail = Vec::new();
        put_bulk(&mut set_tail, b"PX");
        put_bulk(&mut set_tail, ttl.as_bytes());
        Self {
            publish: head(3, &["PUBLISH", &channel]),
            append: head(8, &["XADD", &stream, "MAXLEN", "~", &length, "*", "data"]),
            set: head(5, &["SET", &key]),
            set_tail,
            delete: head(2, &["DEL", &key]),
        }
    }

    /// `PUBLISH channel payload`
    pub(super) fn put_publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.publish);
        put_bulk(out, payload);
    }

    /// `XADD stream MAXLEN ~ length * data payload`
    pub(super) fn put_append(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.append);
        put_bulk(out, payload);
    }

    /// `SET key payload PX ttl`
    pub(super) fn put_set(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.set);
        put_bulk(out, payload);
        out.extend_from_slice(&self.set_tail);
    }

    /// `DEL key`
    pub(super) fn put_delete(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.delete);
    }
}

fn head(arguments: usize, first: &[&str]) -> Vec<u8> {
    let mut out = format!("*{arguments}\r\n").into_bytes();
    first.iter().for_each(|text| put_bulk(&mut out, text.as_bytes()));
    out
}

fn put_bulk(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'$');
    out.extend_from_slice(decimal(text.len() as u64, &mut [0; 20]));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_protocol() {
        let (heads, mut out) = (Heads::new("a:", "trades:X", 500, 9), Vec::new());
        heads.put_publish(b"{}", &mut out);
        heads.put_append(b"{}", &mut out);
        heads.put_set(b"{}", &mut out);
        heads.put_delete(&mut out);
        let text = String::from_utf8(out).expect("text").replace("\r\n", " ");
        assert_eq!(
            text,
            "*3 $7 PUBLISH $10 a:trades:X $2 {} \
             *8 $4 XADD $17 a:stream:trades:X $6 MAXLEN $1 ~ $1 9 $1 * $4 data $2 {} \
             *5 $3 SET $17 a:latest:trades:X $2 {} $2 PX $3 500 *2 $3 DEL $17 a:latest:trades:X "
        );
    }
}
