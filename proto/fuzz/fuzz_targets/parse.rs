// SPDX-License-Identifier: GPL-2.0-only

//! Feeds arbitrary bytes to all parsers of input of a peer or a user.
//!
//! The first byte selects the parser. A value that parses must encode to bytes that parse to
//! the same value, and stay within its bounds.

#![no_main]

use rnbd_proto::{
    block_command::{
        BlockCommand,
        RequestData,
        TargetDisk, //
    },
    export_rules::line::Line,
    glob::Glob,
    imm::{
        Imm,
        IoReqLayout, //
    },
    limits::QueueDepth,
    mpath_policy::MpathPolicy,
    reconnect_backoff,
    search_path::{
        SearchPath,
        PATH_MAX, //
    },
    text::{
        map_device::MapOptions,
        path_addr::PathAddr,
        UnmapMode, //
    },
    wire::{
        name::{
            DevicePath,
            SessName, //
        },
        rnbd::{
            Description,
            IoMsg,
            Message,
            OpenRsp,
            SessInfoRsp, //
        },
        rtrs::{
            eager,
            ConnReq,
            ConnRsp,
            DataTransfer,
            InfoAuth,
            InfoReq,
            InfoRsp,
            NextKey,
            RequestMsg,
            RkeyRsp, //
        }, //
    }, //
};

use libfuzzer_sys::fuzz_target;

const CHUNK: u32 = 8192;

/// Checks that an accepted block request does not transfer more data than it has.
fn check_command(io: &IoMsg, request: &RequestMsg) {
    let data = RequestData {
        to_client: request.transfer().is_to_client(),
        len: request.data_len() as usize,
    };
    let disk = TargetDisk {
        writable: true,
        sectors: u64::MAX,
        block_size: 512,
    };
    if BlockCommand::new(io, data, disk).is_ok() {
        assert!(io.len() <= CHUNK || !io.op().has_data());
    }
}

/// Parses an eager request of a header and `data`, as a server does.
fn eager_request(header: &[u8; eager::HEADER_SIZE], data: &[u8], offset: u32) -> Option<()> {
    let len = eager::HEADER_SIZE + data.len();
    let request = eager::parse(header, len, offset, CHUNK, NextKey::Same).ok()?;
    let sent = request.len_to_server();
    assert_eq!(sent as usize, data.len());
    let wanted = request.transfer().len_to_client();
    assert!(eager::fits(request.user_len(), sent, wanted, NextKey::Same));
    assert!(wanted <= CHUNK);
    if let Message::Io(io) = Message::parse(&header[..request.user_len()]).ok()? {
        check_command(&io, &request);
    }
    let mut again = *header;
    eager::encode(&request, &mut again).expect("room");
    let parsed = eager::parse(&again, len, offset, CHUNK, NextKey::Same);
    assert_eq!(parsed, Ok(request));
    Some(())
}

fn layout(depth: u32) -> Option<IoReqLayout> {
    IoReqLayout::new(QueueDepth::new(depth).ok()?, CHUNK).ok()
}

/// Parses a chunk that ends with `data`, as a server does.
fn chunk(data: &[u8], imm: u32) -> Option<()> {
    let layout = layout(512)?;
    let Ok(Imm::IoReq(at)) = Imm::decode(imm & 0x0fff_ffff) else {
        return None;
    };
    let (_, offset) = layout.decode(at).ok()?;
    let mut chunk = vec![0; CHUNK as usize];
    let end = (offset as usize + 24).min(CHUNK as usize);
    let len = data.len().min(end);
    chunk[end - len..end].copy_from_slice(&data[data.len() - len..]);

    let range = RequestMsg::message_range(offset, CHUNK).ok()?;
    let request = RequestMsg::parse(&chunk[range], offset).ok()?;
    if let DataTransfer::ToClient { desc, .. } = request.transfer() {
        assert!(desc.len() <= request.data_len(), "larger than the data");
    }
    let user = &chunk[request.user_range()];
    if let Message::Io(io) = Message::parse(user).ok()? {
        check_command(&io, &request);
    }
    Some(())
}

fn messages(kind: u8, data: &[u8]) -> Option<()> {
    match kind {
        0 => {
            let msg = ConnReq::parse(data).ok()?;
            assert_eq!(ConnReq::parse(&msg.encode()), Ok(msg));
        }
        1 => {
            let msg = ConnRsp::parse(data).ok()?;
            // A positive error number, which C does not send, encodes as a negative one.
            let _ = ConnRsp::parse(&msg.encode()).expect("own message");
        }
        2 => {
            let msg = InfoReq::parse(data).ok()?;
            let mut buf = [0; 272];
            msg.encode(&mut buf).expect("room");
            assert_eq!(InfoReq::parse(&buf), Ok(msg));
            let auth = InfoAuth::parse(data.first_chunk()?).ok()?;
            let buf = msg.encode_auth(&auth).expect("room");
            assert_eq!(InfoAuth::parse(&buf), Ok(auth));
        }
        3 => {
            let (depth, data) = data.split_first_chunk()?;
            let layout = layout(u32::from(u16::from_le_bytes(*depth)))?;
            let msg = InfoRsp::parse(data, layout).ok()?;
            assert_eq!(msg.chunks().count(), layout.queue_depth().get().into());
        }
        4 => {
            let (imm, data) = data.split_first_chunk()?;
            chunk(data, u32::from_le_bytes(*imm))?;
        }
        5 => {
            let msg = RkeyRsp::parse(data, QueueDepth::new(512).ok()?).ok()?;
            assert!(msg.id.index() < 512);
        }
        6 => drop(Message::parse(data)),
        7 => {
            let msg = OpenRsp::parse(data).ok()?;
            assert_eq!(OpenRsp::parse(&msg.encode()), Ok(msg));
        }
        8 => {
            let msg = SessInfoRsp::parse(data).ok()?;
            assert_eq!(SessInfoRsp::parse(&msg.encode()), Ok(msg));
        }
        9 => {
            let msg = Description::parse(data).ok()?;
            let again = msg.encode(usize::MAX).expect("room");
            assert_eq!(Description::parse(again.as_bytes()), Ok(msg));
            if let Some(identity) = msg.identity {
                assert!(identity.to_string().bytes().all(|b| b.is_ascii_graphic()));
            }
            let space = usize::from(data[data.len() - 1]);
            if let Ok(cut) = msg.encode(space) {
                assert!(cut.as_bytes().len() <= space);
                Description::parse(cut.as_bytes()).expect("own message");
            }
        }
        10 => {
            let (offset, data) = data.split_first_chunk()?;
            let (header, data) = data.split_first_chunk()?;
            eager_request(header, data, u32::from_le_bytes(*offset))?;
        }
        _ => {
            let (raw, _) = data.split_first_chunk()?;
            let imm = Imm::decode(u32::from_le_bytes(*raw)).ok()?;
            assert_eq!(Imm::decode(imm.encode()), Ok(imm));
        }
    }
    Some(())
}

fn texts(kind: u8, data: &[u8]) -> Option<()> {
    match kind {
        0 => match MapOptions::parse(data, 8) {
            Ok(options) => {
                let mut buf = [0; 256];
                assert!(options.link.copy_to(&mut buf).count_bytes() <= 255);
                assert!(options.paths().count() <= 6);
            }
            Err(e) => assert!(!e.to_string().contains('\n')),
        },
        1 => {
            let path = PathAddr::parse(data).ok()?;
            let again = path.to_string();
            assert!(PathAddr::parse(again.as_bytes()).is_ok());
        }
        2 => drop(UnmapMode::parse(data)),
        3 => {
            let mut parts = data.splitn(3, |b| *b == 0);
            let search = SearchPath::new(parts.next()?).ok()?;
            let sess = SessName::new(parts.next()?).ok()?;
            let device = DevicePath::new(parts.next()?).ok()?;
            let (mut dir, mut path) = ([0; PATH_MAX], [0; PATH_MAX]);
            let path = search.resolve(sess, device, &mut path).ok()?.to_bytes();
            let dir = search
                .directory(sess, &mut dir)
                .expect("shorter")
                .to_bytes();
            assert!(path.starts_with(dir));
            assert!(path.split(|b| *b == b'/').all(|c| c != b".."));
        }
        4 => {
            let policy = MpathPolicy::parse(data)?;
            assert_eq!(
                MpathPolicy::parse(policy.to_string().as_bytes()),
                Some(policy)
            );
        }
        5 => {
            let max = reconnect_backoff::parse_max_attempts(data).ok()?;
            assert!((-1..=9999).contains(&max));
        }
        _ => {
            let mut parts = data.splitn(2, |b| *b == 0);
            let (line, name) = (parts.next()?, parts.next()?);
            if let Some(pattern) = Glob::new(line) {
                let same = pattern.literal() == Some(name);
                assert!(pattern.matches(name) || !same);
            }
            match Line::parse(line) {
                Ok(Line::Rule(rule)) => assert_eq!(Line::parse(rule.text), Ok(Line::Rule(rule))),
                Ok(_) => {}
                Err(e) => assert!(!e.to_string().contains('\n')),
            }
        }
    }
    Some(())
}

fuzz_target!(|input: &[u8]| {
    if let [kind, data @ ..] = input {
        let _ = match kind % 19 {
            kind @ 0..=11 => messages(kind, data),
            kind => texts(kind - 12, data),
        };
    }
});
