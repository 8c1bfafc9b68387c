//! A collector's frames -> sample messages. Pure.

use serde::Serialize;

use crate::collect::frames::{Frame, Row};
use crate::transport::wire::{MAX_MESSAGE_BYTES, VERSION};
use crate::types::HostId;

/// A list, but for a single value.
#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    One(u32),
    Many(&'a [u32]),
}

#[derive(Serialize)]
struct Vm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    cpu_ppm: Values<'a>,
}

impl<'a> Values<'a> {
    fn of(cpu_ppm: &'a [u32]) -> Self {
        if let [one] = cpu_ppm { Values::One(*one) } else { Values::Many(cpu_ppm) }
    }
}

/// Hands the messages of a frame to `each`: one, or as many as [`MAX_MESSAGE_BYTES`] make necessary. What the
/// host itself used is a field `overhead_ppm` of the first one, which readers may ignore.
pub fn messages(frame: &Frame, period_ms: u64, mut each: impl FnMut(Vec<u8>)) {
    let head = head(frame, period_ms);
    let (mut message, mut row) = (head.clone(), Vec::new());
    if let Some(cpu_ppm) = frame.overhead_ppm {
        append(&mut message, "\"overhead_ppm\":");
        json(&mut message, &Values::of(cpu_ppm));
        append(&mut message, ",");
    }
    append(&mut message, "\"vms\":[");
    let mut first = true;
    for vm in &frame.rows {
        row.clear();
        json(&mut row, &vm_of(frame.host, vm));
        if !first && message.len() + row.len() + 3 > MAX_MESSAGE_BYTES {
            append(&mut message, "]}");
            each(std::mem::replace(&mut message, head.clone()));
            append(&mut message, "\"vms\":[");
            first = true;
        }
        append(&mut message, if first { "" } else { "," });
        message.extend_from_slice(&row);
        first = false;
    }
    append(&mut message, "]}");
    each(message);
}

/// All before the VMs.
fn head(frame: &Frame, period_ms: u64) -> Vec<u8> {
    let mut head = format!("{{\"v\":{VERSION},\"host\":").into_bytes();
    json(&mut head, frame.host.as_str());
    let t_ms = frame.end.saturating_mul(period_ms as i64);
    append(&mut head, &format!(",\"t_ms\":{t_ms},\"period_ms\":{period_ms},"));
    head
}

/// An identity that follows from host and name is left out.
fn vm_of<'a>(host: &HostId, row: &Row<'a>) -> Vm<'a> {
    let derived =
        |id: &str| id.strip_prefix(host.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(row.name);
    let id = Some(row.vm.as_str()).filter(|id| !derived(id));
    Vm { id, name: row.name, cpu_ppm: Values::of(row.cpu_ppm) }
}

fn append(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(text.as_bytes());
}

fn json<T: Serialize + ?Sized>(to: &mut Vec<u8>, value: &T) {
    // Neither texts nor numbers fail to be written to a vector.
    let _ = serde_json::to_writer(to, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::wire::read_message;
    use crate::types::VmId;

    fn row<'a>(vm: &'a VmId, name: &'a str, cpu_ppm: &'a [u32]) -> Row<'a> {
        Row { vm, name, cpu_ppm }
    }

    fn written(frame: &Frame) -> Vec<String> {
        let mut all = vec![];
        messages(frame, 500, |message| all.push(String::from_utf8(message).unwrap()));
        all.iter().for_each(|message| drop(read_message(message.as_bytes()).unwrap()));
        all
    }

    #[test]
    fn one_message_a_frame() {
        let (host, own, derived) = (HostId::new("h\"1"), VmId::new("uuid"), VmId::new("h\"1/web"));
        let rows = vec![row(&own, "db", &[5, 6]), row(&derived, "web", &[7, 8])];
        let frame = Frame { host: &host, end: 4, rows, overhead_ppm: Some(&[1, 2]) };
        assert_eq!(
            written(&frame),
            [
                r#"{"v":1,"host":"h\"1","t_ms":2000,"period_ms":500,"overhead_ppm":[1,2],"vms":[{"id":"uuid","name":"db","cpu_ppm":[5,6]},{"name":"web","cpu_ppm":[7,8]}]}"#
            ]
        );
        let frame = Frame { host: &host, end: 4, rows: vec![row(&own, "db", &[5])], overhead_ppm: None };
        assert!(written(&frame)[0].ends_with(r#""vms":[{"id":"uuid","name":"db","cpu_ppm":5}]}"#));
    }

    #[test]
    fn what_is_too_large_is_divided() {
        let (host, name, values) = (HostId::new("h"), "\u{1}".repeat(255), [u32::MAX >> 3; 2]);
        let ids: Vec<VmId> = (0..1000).map(|i| VmId::new(&i.to_string())).collect();
        let rows: Vec<Row> = ids.iter().map(|id| row(id, &name, &values)).collect();
        let all = written(&Frame { host: &host, end: 9, rows, overhead_ppm: Some(&values) });
        assert_eq!(all.len(), 2);
        let vms = |text: &String| read_message(text.as_bytes()).unwrap().vms.len();
        assert_eq!(all.iter().map(vms).sum::<usize>(), 1000);
        assert!(all[0].contains("overhead") && !all[1].contains("overhead"));
    }
}
