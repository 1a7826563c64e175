//! A message as one piece, for the monitor's client socket and for what it sends to the agent: two 32-bit
//! little-endian lengths (header, payload), the header, the payload.

use crate::{MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, WireError};

/// Bytes before the header.
pub const PREFIX_BYTES: usize = 8;

/// Appends a frame to `out`.
pub fn push(out: &mut Vec<u8>, header: &[u8], payload: &[u8]) -> Result<(), WireError> {
    let lengths = lengths(header.len(), payload.len())?;
    out.extend_from_slice(&lengths.0.to_le_bytes());
    out.extend_from_slice(&lengths.1.to_le_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
    Ok(())
}

/// A frame by itself.
pub fn join(header: &[u8], payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut frame = Vec::with_capacity(PREFIX_BYTES + header.len() + payload.len());
    push(&mut frame, header, payload)?;
    Ok(frame)
}

/// Splits a frame that stands by itself into header and payload.
pub fn split(frame: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    match peek(frame)? {
        Some(Frame { header, payload, length }) if length == frame.len() => Ok((header, payload)),
        _ => Err(WireError::FrameLength { bytes: frame.len() }),
    }
}

/// A whole frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message's header, JSON.
    pub header: &'a [u8],
    /// The message's payload.
    pub payload: &'a [u8],
    /// How many bytes of the buffer the frame takes.
    pub length: usize,
}

/// Looks for a whole frame at the start of `buffer`; `None` if more bytes are needed.
pub fn peek(buffer: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [a, b, c, d, e, f, g, h] = *prefix;
    let header_length = u32::from_le_bytes([a, b, c, d]) as usize;
    let payload_length = u32::from_le_bytes([e, f, g, h]) as usize;
    lengths(header_length, payload_length)?;
    if rest.len() < header_length + payload_length {
        return Ok(None);
    }
    let (header, rest) = rest.split_at(header_length);
    Ok(Some(Frame { header, payload: &rest[..payload_length], length: PREFIX_BYTES + header_length + payload_length }))
}

fn lengths(header: usize, payload: usize) -> Result<(u32, u32), WireError> {
    if header > MAX_HEADER_BYTES {
        return Err(WireError::HeaderTooLong { bytes: header });
    }
    if payload > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLong { bytes: payload });
    }
    Ok((header as u32, payload as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_as_it_went_in_and_a_part_of_it_asks_for_more() {
        let mut buffer = Vec::new();
        push(&mut buffer, b"{}", b"payload").unwrap();
        push(&mut buffer, b"[]", b"").unwrap();
        for cut in 0..17 {
            assert_eq!(peek(&buffer[..cut]).unwrap(), None, "cut at {cut}");
        }
        let frame = peek(&buffer).unwrap().unwrap();
        assert_eq!((frame.header, frame.payload, frame.length), (&b"{}"[..], &b"payload"[..], 17));
        assert_eq!(peek(&buffer[17..]).unwrap().unwrap().header, b"[]");
    }

    #[test]
    fn a_frame_by_itself_has_nothing_missing_and_nothing_behind_it() {
        let mut frame = join(b"{}", b"payload").unwrap();
        assert_eq!(split(&frame).unwrap(), (&b"{}"[..], &b"payload"[..]));
        assert!(matches!(split(&frame[..16]), Err(WireError::FrameLength { bytes: 16 })));
        frame.push(0);
        assert!(matches!(split(&frame), Err(WireError::FrameLength { bytes: 18 })));
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut buffer = (MAX_HEADER_BYTES as u32 + 1).to_le_bytes().to_vec();
        buffer.extend_from_slice(&[0; 4]);
        assert!(matches!(peek(&buffer), Err(WireError::HeaderTooLong { .. })));
        let mut buffer = vec![0; 4];
        buffer.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(peek(&buffer), Err(WireError::PayloadTooLong { .. })));
    }
}
