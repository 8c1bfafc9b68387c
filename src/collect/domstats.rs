//! What `virsh domstats --raw --cpu-total --state` prints -> counters. Pure.
//!
//! A line `Domain: 'NAME'` begins a domain, its fields follow, a line each, as `name=value`. In a session the
//! prompt stands before some of the lines.

use super::number::counter_ns;

/// A domain with a counter of its CPU time; who is shut off has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Used<'a> {
    /// Its name; it may hold blanks and quotes, but no slash and no line's end.
    pub name: &'a str,
    /// `cpu.time`: more than user and system together, since it counts what the hypervisor does for it.
    pub cpu_ns: u64,
}

/// The domains of a text that have a counter.
pub fn read(text: &str) -> Vec<Used<'_>> {
    let (mut domains, mut name) = (vec![], None);
    for line in text.lines() {
        let line = without_prompt(line).trim();
        if let Some(quoted) = line.strip_prefix("Domain: ") {
            let bare = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            name = bare.filter(|bare| !bare.is_empty());
        } else if let Some(cpu_ns) = line.strip_prefix("cpu.time=")
            && let Ok(cpu_ns) = counter_ns(cpu_ns.as_bytes())
            && let Some(name) = name.take()
        {
            domains.push(Used { name, cpu_ns });
        }
    }
    domains
}

/// A line without the prompts before it: `virsh # `, or `virsh > ` for who may only read.
pub fn without_prompt(mut line: &str) -> &str {
    while let Some(rest) = line.strip_prefix("virsh # ").or_else(|| line.strip_prefix("virsh > ")) {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 9.0 prints it; the counter of `db` is beyond 2^53.
    const TEXT: &str = "virsh # virsh # Domain: 'it's my web (2)'
  state.state=1
  state.reason=1
  cpu.time=1234567890123
  cpu.user=12340000000
  cpu.system=5670000000
  cpu.cache.monitor.count=0

Domain: 'off'
  state.state=5
  state.reason=0

virsh > Domain: 'db'
  state.state=3
  cpu.time=9007199254740993

";

    #[test]
    fn domains_that_run() {
        let used = |name, cpu_ns| Used { name, cpu_ns };
        assert_eq!(
            read(TEXT),
            [used("it's my web (2)", 1_234_567_890_123), used("db", 9_007_199_254_740_993)]
        );
        for nothing in
            ["", "cpu.time=5", "Domain: ''\ncpu.time=5", "Domain: 'a'\ncpu.time=-5", "Domain: a\ncpu.time=5"]
        {
            assert_eq!(read(nothing), [], "{nothing}");
        }
        let twice = "Domain: 'a'\ncpu.time=5\ncpu.time=6";
        assert_eq!(read(twice), [used("a", 5)]);
    }
}
