//! Any bytes as a trace, in the formats and with the options that the first two bytes choose; read whole and in
//! small pieces.

#![no_main]

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lwt::collect::grid::RUN_TICKS;
use lwt::transport::file::{Batch, Format, Options, Progress, Trace};
use lwt::types::{DeadLetter, HostId, MAX_CPU_PPM, Tick, VmId};

const DAY_MS: u64 = 86_400_000;

/// Gives at most `piece` bytes at a time.
struct Pieces {
    rest: io::Cursor<Vec<u8>>,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.piece.min(into.len());
        self.rest.read(&mut into[..piece])
    }
}

fn options(how: u8, period: u8) -> Options {
    let formats = [None, Some(Format::Long), Some(Format::Wide), Some(Format::Xentop), Some(Format::Ndjson)];
    let periods =
        [None, Some(1), Some(100), Some(1000), Some(1500), Some(60_000), Some(DAY_MS), Some(u64::MAX)];
    Options {
        format: formats[usize::from(how) % formats.len()],
        counters: how & 0x80 != 0,
        period_ms: periods[usize::from(period) % periods.len()],
    }
}

/// What a trace came to.
type Told = (Batch, u64, Vec<String>, bool);

/// Reads all; after each batch, what has to hold of it.
fn drain(bytes: &[u8], piece: usize, options: Options) -> Option<Told> {
    let source = Pieces { rest: io::Cursor::new(bytes.to_vec()), piece };
    let mut trace = Trace::from_reader(Box::new(source), Path::new("fuzz"), options).ok()?;
    assert!((1..=DAY_MS).contains(&trace.period_ms()));
    let (mut out, mut next) = (Batch::default(), HashMap::<(VmId, HostId, usize), Tick>::new());
    let (mut from, mut watermark) = (0, None);
    let cut_off = loop {
        let progress = trace.read(&mut out);
        assert_eq!(out.refused, out.dead.len() as u64, "each refusal is a dead letter");
        assert!(out.watermark >= watermark, "the watermark never goes back");
        watermark = out.watermark;
        for run in &out.samples[from..] {
            assert!((1..=RUN_TICKS).contains(&run.cpu_ppm.len()));
            assert!(run.cpu_ppm.iter().all(|&ppm| ppm <= MAX_CPU_PPM));
            let next = next.entry((run.vm.clone(), run.host.clone(), run.grain)).or_insert(Tick::MIN);
            assert!(*next <= run.first, "a tick of a VM comes once, in order");
            *next = run.end();
        }
        from = out.samples.len();
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::End) => break false,
            Err(_) => break true,
        }
    };
    assert!(out.dead.iter().all(|letter| letter.bytes.len() <= DeadLetter::KEPT_BYTES));
    // Of packed bytes the reader may leave some that do not matter.
    assert!(out.bytes_read <= bytes.len() as u64);
    Some((Batch { bytes_read: 0, ..out }, trace.period_ms(), trace.notes().to_vec(), cut_off))
}

fuzz_target!(|bytes: &[u8]| {
    let [how, period, piece, text @ ..] = bytes else { return };
    let options = options(*how, *period);
    let whole = drain(text, usize::MAX, options);
    // How much of a damaged package comes out before the error is the unpacker's business.
    let packed = text.starts_with(&[0x1f, 0x8b]) || text.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if packed && whole.as_ref().is_none_or(|(.., cut_off)| *cut_off) {
        return;
    }
    let pieces = drain(text, usize::from(*piece) + 1, options);
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
});
