//! Real captures of `xentop -b`, and small traces of every format, read through the whole input side.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::io::{Cursor, Write};
use std::path::Path;

use lwt::transport::file::{Batch, Format, OpenError, Options, Progress, Trace};
use lwt::types::Reason;

/// Reads to the end; the error's text if there was one.
fn read(mut trace: Trace) -> (Batch, Option<String>) {
    let mut batch = Batch::default();
    loop {
        match trace.read(&mut batch) {
            Ok(Progress::More) => {}
            Ok(Progress::End) => return (batch, None),
            Err(error) => return (batch, Some(error.to_string())),
        }
    }
}

fn open(bytes: &[u8], options: Options) -> Result<Trace, OpenError> {
    Trace::from_reader(Box::new(Cursor::new(bytes.to_vec())), Path::new("x"), options)
}

fn text(bytes: &[u8]) -> Batch {
    let (batch, error) = read(open(bytes, Options::default()).unwrap());
    assert_eq!(error, None);
    batch
}

fn samples(batch: &Batch) -> Vec<(String, i64, Vec<u32>)> {
    batch.samples.iter().map(|s| (s.vm.to_string(), s.first, s.cpu_ppm.clone())).collect()
}

#[test]
fn captures() {
    // Readings, refused, Domain-0's lines, samples: the first three add up to `grep -c` of the
    // state column; without times, all but a VM's first reading is a sample.
    let rows = [
        ("xentop-n.txt", PLAIN),
        ("xentop-v.txt", PLAIN),
        ("xentop-x.txt", PLAIN),
        ("xentop-vnxrf.txt", VNXRF),
        ("truncated-mid-run.txt", TRUNCATED),
        ("pairs-f-d1.ts.txt", PAIRS),
    ];
    for (name, want) in rows {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xentop").join(name);
        let trace = Trace::open(&path, Options::default()).unwrap();
        assert_eq!(trace.format(), Format::Xentop, "{name}");
        let (batch, error) = read(trace);
        assert_eq!(error, None, "{name}");
        let total: usize = batch.samples.iter().map(|s| s.cpu_ppm.len()).sum();
        assert_eq!((batch.readings, batch.refused, batch.skipped, total), want, "{name}");
        assert!(batch.samples.iter().all(|s| s.cpu_ppm.iter().all(|&ppm| ppm <= 2_100_000)), "{name}");
    }
}

#[test]
fn every_format_gives_the_same() {
    let want = vec![("a".to_owned(), 0, vec![10_000, 20_000]), ("b".to_owned(), 0, vec![30_000, 0])];
    let rows: [&[u8]; 5] = [
        b"t,vm,cpu\n1,a,1\n1,b,3\n2,a,2\n2,b,0\n",
        b"\xef\xbb\xbf# by hand\r\ncpu,\"vm\",t\r\n1,a,1\r\n3,b,1\r\n\r\n2,\"a\",2\r\n0,b,2",
        b"t,a,b\n1,1,3\n2,2,0\n",
        b"t,a,b\n0,100000000,500000000\n1,110000000,530000000\n2,130000000,530000000\n",
        b"t,a,b\n1970-01-01T00:00:01Z,1,3\n1970-01-01T00:00:02Z,2,0\n",
    ];
    for bytes in rows {
        assert_eq!(samples(&text(bytes)), want, "{}", String::from_utf8_lossy(bytes));
    }
    let message = br#"{"v":1,"host":"h","t_ms":2000,"period_ms":1000,"vms":[{"name":"a","cpu_ppm":[5,6]}]}"#;
    assert_eq!(samples(&text(message)), [("h/a".to_owned(), 0, vec![5, 6])]);
}

#[test]
fn bad_cells_are_refused_with_their_reason() {
    let batch = text(b"t,vm,cpu\n1,a,x\n1,,1\n1,a,-1\n1,a,1e9\nx,a,1\n1,a\n1,a,1\n1,a,1\n0,a,1\n2,a,1\n");
    let reasons: Vec<Reason> = batch.dead.iter().map(|letter| letter.reason).collect();
    use Reason::*;
    assert_eq!(
        reasons,
        [NotANumber, BadName, Negative, Implausible, BadTime, Malformed, Duplicate, OutOfOrder]
    );
    assert_eq!(batch.dead[0].origin, "x:2");
    let batch = text(b"t,a,a,b\n1,1,1,\n2,1,1,3\n3,1,1,NaN\n");
    // Two columns `a` are ambiguous, their six cells are skipped, and so is the empty one.
    assert_eq!((batch.readings, batch.refused, batch.skipped), (1, 3, 7));
}

#[test]
fn packed_and_cut_off() {
    let mut csv = String::from("t,vm,cpu\n");
    (0..200_000).for_each(|t| csv += &format!("{t},a,{}\n", t * 7 % 100));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(csv.as_bytes()).unwrap();
    for packed in [gz.finish().unwrap(), zstd::encode_all(csv.as_bytes(), 1).unwrap()] {
        assert_eq!(text(&packed).readings, 200_000);
        let (batch, error) = read(open(&packed[..packed.len() / 2], Options::default()).unwrap());
        assert!((1000..200_000).contains(&batch.readings), "{}", batch.readings);
        assert!(error.unwrap().contains("cannot read x behind line"));
    }
}

#[test]
fn periods() {
    let csv = b"t,vm,cpu\n1,a,1\n2,a,2\n3,a,3\n4,a,4\n";
    let coarser = Options { period_ms: Some(2000), ..Options::default() };
    assert_eq!(samples(&read(open(csv, coarser).unwrap()).0), [("a".to_owned(), 0, vec![15_000, 35_000])]);
    let finer = Options { period_ms: Some(100), ..Options::default() };
    assert!(matches!(open(csv, finer), Err(OpenError::TooFine { own_ms: 1000, period_ms: 100, .. })));
}

/// Whatever the watermark says is complete comes no more.
#[test]
fn the_watermark_holds() {
    let mut csv = String::from("t,vm,cpu\n");
    (0..5_000).for_each(|t| csv += &format!("{t},a,1\n{t},b,{}\n", t % 9));
    let mut trace = open(csv.as_bytes(), Options::default()).unwrap();
    let (mut batch, mut before, mut count) = (Batch::default(), i64::MIN, 0);
    let mut more = true;
    while more {
        more = trace.read(&mut batch).unwrap() == Progress::More;
        assert!(batch.samples.iter().all(|s| s.first >= before && s.cpu_ppm.len() <= 64));
        count += batch.samples.drain(..).map(|s| s.cpu_ppm.len()).sum::<usize>();
        before = batch.watermark.unwrap_or(before);
    }
    assert_eq!((count, before), (10_000, 4_999));
}

const PLAIN: (u64, u64, u64, usize) = (24, 0, 4, 18);
const VNXRF: (u64, u64, u64, usize) = (18, 0, 3, 12);
const TRUNCATED: (u64, u64, u64, usize) = (25, 0, 3, 20);
const PAIRS: (u64, u64, u64, usize) = (80, 1, 20, 76);
