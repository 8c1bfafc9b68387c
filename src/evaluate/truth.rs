//! What is true: a CSV of VMs and their ensembles, held against what was found.

use std::collections::{BTreeMap, BTreeSet};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use thiserror::Error;

use super::Score;
use super::count::{Ensembles, score_pairs};
use crate::types::VmId;

/// Why a CSV of truth or call edges cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CsvError {
    /// No line at all.
    #[error("no header: the first line must name the columns {0}")]
    Empty(&'static str),
    /// The header lacks a column.
    #[error("line {line}: no column {column:?} in the header")]
    NoColumn {
        /// Where, from 1.
        line: usize,
        /// What lacks.
        column: &'static str,
    },
    /// A row that is shorter than its columns.
    #[error("line {line}: no field for column {column:?}")]
    NoField {
        /// Where, from 1.
        line: usize,
        /// What lacks.
        column: &'static str,
    },
    /// A VM without a name.
    #[error("line {line}: the {column} is empty")]
    NoName {
        /// Where, from 1.
        line: usize,
        /// The column of the name.
        column: &'static str,
    },
    /// A VM that has a row already.
    #[error(
        "line {line}: {vm:?} was on line {before} already; a member of several ensembles has one row: a|b"
    )]
    Twice {
        /// Where, from 1.
        line: usize,
        /// Which VM.
        vm: String,
        /// The line of its first row.
        before: usize,
    },
}

/// The ensembles of the VMs of which the truth is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    vms: Vec<Row>,
    names: Names,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    vm: String,
    ensembles: Ensembles,
}

/// A score, and the VMs that could not be matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Over all pairs of the VMs of the truth.
    pub score: Score,
    /// VMs of the truth that the result does not have; scored as in no ensemble.
    pub missing: Vec<String>,
    /// How many VMs of the result have no truth; left out.
    pub unknown: usize,
}

impl Truth {
    /// Reads `vm,ensemble[,...]`: a header, then a row for each VM, named by name or `host/name`; `a|b` is a
    /// member of both, an empty ensemble none.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let (mut vms, mut lines, mut numbers) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (line, [vm, ensembles]) in two_columns(text, ["vm", "ensemble"], "vm,ensemble")? {
            if vm.is_empty() {
                return Err(CsvError::NoName { line, column: "vm" });
            }
            if let Some(before) = lines.insert(vm.clone(), line) {
                return Err(CsvError::Twice { line, vm, before });
            }
            let names = ensembles.split('|').map(str::trim).filter(|name| !name.is_empty());
            vms.push(Row { vm, ensembles: numbered(names, &mut numbers) });
        }
        let names = Names::new(vms.iter().map(|row| row.vm.as_str()));
        Ok(Truth { vms, names })
    }

    /// How many VMs have a row.
    pub fn len(&self) -> usize {
        self.vms.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty()
    }

    /// How many clusters there are: ensembles, and VMs in none.
    pub fn clusters(&self) -> usize {
        let ensembles: BTreeSet<u32> =
            self.vms.iter().flat_map(|row| row.ensembles.iter().copied()).collect();
        ensembles.len() + self.vms.iter().filter(|row| row.ensembles.is_empty()).count()
    }

    /// Holds the ensembles in which VMs were `found` against the truth. VMs of the result that have the same
    /// row of the truth (the same name on two hosts: a migration) count as one, in the ensembles of both.
    pub fn score(&self, found: &BTreeMap<VmId, Vec<String>>) -> Judged {
        let mut ensembles: Vec<Option<BTreeSet<u32>>> = vec![None; self.vms.len()];
        let (mut numbers, mut unknown) = (BTreeMap::new(), 0);
        for (vm, names) in found {
            match self.names.find(vm.as_str()) {
                Some(i) => {
                    let of_vm = numbered(names.iter().map(String::as_str), &mut numbers);
                    ensembles[i].get_or_insert_default().extend(of_vm);
                }
                None => unknown += 1,
            }
        }
        let absent = self.vms.iter().zip(&ensembles).filter(|(_, found)| found.is_none());
        let missing = absent.map(|(row, _)| row.vm.clone()).collect();
        let vms = self.vms.iter().zip(ensembles);
        let score =
            score_pairs(vms.map(|(row, found)| {
                (row.ensembles.clone(), found.into_iter().flatten().collect::<Ensembles>())
            }));
        Judged { score, missing, unknown }
    }
}

/// How far two answers agree: F1 over the pairs that share an ensemble, the same whichever of the two is held against
/// the other. VMs that only one of them has are in no ensemble of the other; none if neither has any pair.
pub fn agreement(one: &BTreeMap<VmId, Vec<String>>, other: &BTreeMap<VmId, Vec<String>>) -> Option<f64> {
    let vms: BTreeSet<&VmId> = one.keys().chain(other.keys()).collect();
    let mut numbers = [BTreeMap::new(), BTreeMap::new()];
    let mut of = |side: usize, ensembles: Option<&Vec<String>>| {
        let names = ensembles.into_iter().flatten().map(String::as_str);
        numbered(names, &mut numbers[side])
    };
    let pairs: Vec<(Ensembles, Ensembles)> =
        vms.into_iter().map(|vm| (of(0, one.get(vm)), of(1, other.get(vm)))).collect();
    score_pairs(pairs.into_iter()).f1()
}

/// The numbers of `names`, sorted, each once; a new name gets the next number.
fn numbered<'a>(names: impl Iterator<Item = &'a str>, numbers: &mut BTreeMap<String, u32>) -> Ensembles {
    let mut found = BTreeSet::new();
    for name in names {
        let next = numbers.len() as u32;
        found.insert(match numbers.get(name) {
            Some(number) => *number,
            None => *numbers.entry(name.to_string()).or_insert(next),
        });
    }
    found.into_iter().collect()
}

/// Finds VMs that are named `host/name` in one place and `name` in another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    full: BTreeMap<String, usize>,
    /// By the part after the host; `None` where several VMs have it.
    bare: BTreeMap<String, Option<usize>>,
}

impl Names {
    /// The names of VMs 0, 1, ...
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut all = Names::default();
        for (i, name) in names.enumerate() {
            all.full.insert(name.to_string(), i);
            if let Some((_, bare)) = name.split_once('/') {
                all.bare.entry(bare.to_string()).and_modify(|i| *i = None).or_insert(Some(i));
            }
        }
        all
    }

    /// The VM of this name: exactly so, else without a host where only one of both names has one.
    pub fn find(&self, name: &str) -> Option<usize> {
        let exact = self.full.get(name);
        let other = || match name.split_once('/') {
            Some((_, bare)) => self.full.get(bare),
            None => self.bare.get(name)?.as_ref(),
        };
        exact.or_else(other).copied()
    }
}

/// Two columns of a CSV text by their names, with line numbers from 1. Blank lines are skipped; a field may
/// be quoted, but not go over several lines.
pub fn two_columns(
    text: &str,
    columns: [&'static str; 2],
    header: &'static str,
) -> Result<Vec<(usize, [String; 2])>, CsvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines =
        text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim().is_empty());
    let (line, names) = lines.next().ok_or(CsvError::Empty(header))?;
    // One reader for all lines: making one builds its tables, which takes longer than a line.
    let mut reader = line_reader();
    let names = fields(&mut reader, names);
    let position = |column| names.iter().position(|n| n == column).ok_or(CsvError::NoColumn { line, column });
    let positions = [position(columns[0])?, position(columns[1])?];
    let mut rows = Vec::new();
    for (line, text) in lines {
        let mut fields = fields(&mut reader, text);
        let mut take = |i: usize| {
            let field = fields.get_mut(positions[i]).ok_or(CsvError::NoField { line, column: columns[i] })?;
            Ok(std::mem::take(field))
        };
        rows.push((line, [take(0)?, take(1)?]));
    }
    Ok(rows)
}

/// Within a line a carriage return is nothing special.
fn line_reader() -> Reader {
    ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build()
}

/// The fields of one line of CSV, without blanks around them.
fn fields(reader: &mut Reader, line: &str) -> Vec<String> {
    reader.reset();
    // Unquoting only shortens; n bytes have at most n commas and so n + 1 fields.
    let (mut bytes, mut ends) = (vec![0; line.len() + 1], vec![0; line.len() + 2]);
    let (result, _, mut written, mut count) = reader.read_record(line.as_bytes(), &mut bytes, &mut ends);
    if result == ReadRecordResult::InputEmpty {
        // The end of the line ends its last field.
        let (_, _, more, last) = reader.read_record(&[], &mut bytes[written..], &mut ends[count..]);
        written += more;
        count += last;
    }
    let mut start = 0;
    let mut fields = Vec::with_capacity(count);
    for end in &ends[..count] {
        let end = (*end).min(written);
        fields.push(String::from_utf8_lossy(&bytes[start.min(end)..end]).trim().to_string());
        start = end;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &[(&str, &[&str])]) -> BTreeMap<VmId, Vec<String>> {
        rows.iter().map(|(vm, e)| (VmId::new(vm), e.iter().map(|e| e.to_string()).collect())).collect()
    }

    #[test]
    fn errors_say_where() {
        let cases = [
            ("", "no header: the first line must name the columns vm,ensemble"),
            ("vm,group\n", "line 1: no column \"ensemble\" in the header"),
            ("vm,ensemble\na,x\nb\n", "line 3: no field for column \"ensemble\""),
            ("vm,ensemble\n\n,x\n", "line 3: the vm is empty"),
            (
                "vm,ensemble\na,x\na,y\n",
                "line 3: \"a\" was on line 2 already; a member of several ensembles has one row: a|b",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(Truth::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn fields_are_split_as_csv() {
        let cases: [(&str, &[&str]); 6] = [
            ("a,b", &["a", "b"]),
            ("a\rb,c", &["a\rb", "c"]),
            ("a,", &["a", ""]),
            ("\"a,b\", c ", &["a,b", "c"]),
            ("\"a\"\"b\",\"c", &["a\"b", "c"]),
            (",", &["", ""]),
        ];
        let mut reader = line_reader();
        for (line, expected) in cases {
            assert_eq!(fields(&mut reader, line), expected, "{line:?}");
        }
    }

    #[test]
    fn names_match_with_and_without_host() {
        let names = Names::new(["web", "h1/db", "h1/app", "h2/app"].into_iter());
        let cases =
            [("web", Some(0)), ("h9/web", Some(0)), ("db", Some(1)), ("h1/db", Some(1)), ("h2/app", Some(3))];
        for (name, expected) in cases {
            assert_eq!(names.find(name), expected, "{name}");
        }
        for name in ["app", "h2/db", "other"] {
            assert_eq!(names.find(name), None, "{name}");
        }
    }

    #[test]
    fn missing_vms_are_scored_and_unknown_ones_left_out() {
        let truth = Truth::parse("app,vm,ensemble\nx,a,s\nx,b,s\nx,c,t\nx,d,s|t\nx,e,\n").unwrap();
        assert_eq!(truth.clusters(), 3);
        let judged = truth.score(&found(&[
            ("h1/a", &["1"]),
            ("b", &["1"]),
            ("d", &["1", "2"]),
            ("e", &[]),
            ("z", &["1"]),
        ]));
        assert_eq!(judged.missing, ["c"]);
        assert_eq!(judged.unknown, 1);
        // a-b, a-d, b-d found; c-d not; the six others independent.
        assert_eq!(judged.score, Score { tp: 3, tn: 6, fp: 0, fn_: 1 });
    }

    #[test]
    fn answers_agree_whatever_ensembles_are_called() {
        let one = found(&[("a", &["1"]), ("b", &["1"]), ("c", &["2"]), ("d", &["2"]), ("e", &[])]);
        let other = found(&[("a", &["x"]), ("b", &["x"]), ("c", &["y"]), ("e", &["y"]), ("f", &[])]);
        assert_eq!(agreement(&one, &one), Some(1.0));
        // a-b in both; c-d and c-e in one each.
        assert_eq!(agreement(&one, &other), Some(0.5));
        assert_eq!(agreement(&other, &one), Some(0.5));
        assert_eq!(agreement(&found(&[("a", &[])]), &found(&[])), None);
    }

    #[test]
    fn a_vm_that_migrated_is_one() {
        let truth = Truth::parse("vm,ensemble\na,s\nb,s\n").unwrap();
        let judged = truth.score(&found(&[("h1/a", &[]), ("h2/a", &["1"]), ("h1/b", &["1"])]));
        assert_eq!(judged.score, Score { tp: 1, ..Score::default() });
    }
}
