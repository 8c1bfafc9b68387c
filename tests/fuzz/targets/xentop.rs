//! Any text as that of `xentop -b`: lines -> blocks.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::collect::xentop::{Blocks, MAX_DOMAINS};
use lwt::types::{MAX_CPU_PPM, MAX_NAME_BYTES, Reason};

fuzz_target!(|text: &[u8]| {
    let (mut blocks, mut ended, mut domain_lines) = (Blocks::new(), Vec::new(), 0);
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        domain_lines += u32::from(blocks.push(line, number, &mut ended) == Ok(true));
    }
    blocks.finish(&mut ended);
    let mut told = 0;
    for block in &ended {
        assert!((1..=MAX_DOMAINS).contains(&block.domains.len()));
        let mut names: Vec<&str> = block.domains.iter().map(|domain| domain.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "a name comes once in a block");
        for domain in &block.domains {
            assert!((1..=MAX_NAME_BYTES).contains(&domain.name.len()));
            assert!(domain.cpu_ppm.is_err() || domain.cpu_ppm <= Ok(MAX_CPU_PPM));
            assert_eq!(domain.lines > 1, domain.cpu_ppm == Err(Reason::Ambiguous));
            told += domain.lines;
        }
    }
    assert_eq!(told, domain_lines, "each domain's line is in one block");
});
