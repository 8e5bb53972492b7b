//! Tables of encoded frames, and streams cut at every byte.

use super::*;

#[test]
fn heads_follow_the_rfc() {
    let key = Some([0x37, 0xfa, 0x21, 0x3d]);
    for (opcode, payload, fin, mask, expected) in [
        // The examples of RFC 6455 §5.7.
        (TEXT, &b"Hello"[..], true, None, &b"\x81\x05Hello"[..]),
        (TEXT, b"Hello", true, key, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        (TEXT, b"Hel", false, None, b"\x01\x03Hel"),
        (0, b"lo", true, None, b"\x80\x02lo"),
        (PING, b"Hello", true, None, b"\x89\x05Hello"),
        (PONG, b"Hello", true, key, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        // Frames that break a rule.
        (65, b"{}", true, None, b"\xc1\x02{}"),
        (3, b"", true, key, b"\x83\x80\x37\xfa\x21\x3d"),
    ] {
        assert_eq!(encode(opcode, payload, fin, mask), expected, "{opcode} {payload:?}");
    }
}

#[test]
fn lengths_take_the_shortest_form() {
    for (len, head) in [
        (125, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let bytes = encode(BINARY, &vec![7; len], true, None);
        assert_eq!(&bytes[..head.len()], head);
        assert_eq!(bytes.len(), head.len() + len);
    }
}

#[test]
fn frames_come_back_however_the_stream_is_cut() {
    let frames: Vec<Frame> =
        [(TEXT, 0, true), (TEXT, 125, false), (0, 126, true), (BINARY, 70_000, true), (PING, 3, true)]
            .map(|(opcode, len, fin)| Frame { fin, opcode, payload: vec![opcode; len] })
            .into();
    let stream: Vec<u8> = frames.iter().flat_map(|f| encode(f.opcode, &f.payload, f.fin, None)).collect();
    for size in [1, 2, 3, 7, 1000, stream.len()] {
        let (mut decoder, mut got) = (Decoder::default(), Vec::new());
        for chunk in stream.chunks(size) {
            decoder.push(chunk);
            while let Some(frame) = decoder.next_frame().unwrap() {
                got.push(frame);
            }
        }
        assert!(got == frames, "chunks of {size}");
    }
}

#[test]
fn reserved_bits_and_masks_are_malformed() {
    for head in [[0xc1, 0], [0xa1, 0], [0x91, 0], [0x81, 0x80]] {
        let mut decoder = Decoder::default();
        decoder.push(&head);
        assert_eq!(decoder.next_frame(), Err(Malformed), "{head:?}");
    }
}

#[test]
fn announced_lengths_allocate_nothing() {
    let mut decoder = Decoder::default();
    decoder.push(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    assert_eq!(decoder.next_frame(), Ok(None));
    assert!(decoder.buffer.capacity() < 1000);
}
