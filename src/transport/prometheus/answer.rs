//! What Prometheus answers -> time series. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::collect::number::time_ns;
use crate::collect::series::query::Unit;
use crate::collect::series::{Labels, Series};
use crate::types::Reason;

/// What was scraped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// In the order of the answer.
    pub series: Vec<Series>,
    /// What may be missing, in Prometheus' words.
    pub warnings: Vec<String>,
    /// Readings that are none, by reason.
    pub refused: BTreeMap<Reason, u64>,
}

/// What was answered is no series.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Not what Prometheus answers.
    #[error("not an answer of Prometheus")]
    NotPrometheus(#[source] serde_json::Error),
    /// Prometheus says what is wrong.
    #[error("{0}")]
    Failed(String),
}

#[derive(Deserialize)]
struct Whole<'a> {
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    metric: Labels,
    /// Times in seconds, and values in quotes: as they were written, to be read exactly.
    #[serde(borrow, default)]
    values: Vec<(&'a RawValue, &'a RawValue)>,
}

/// Reads the answer to a query of raw readings (`selector[range]`).
///
/// # Errors
/// What is no such answer, or says that something is wrong.
pub fn read(bytes: &[u8], unit: Unit) -> Result<Answer, AnswerError> {
    let whole: Whole = serde_json::from_slice(bytes).map_err(AnswerError::NotPrometheus)?;
    let Some(data) = whole.data.filter(|_| whole.status == "success") else {
        return Err(AnswerError::Failed(whole.error.unwrap_or_else(|| "it does not say why".into())));
    };
    let mut answer = Answer { warnings: whole.warnings, ..Answer::default() };
    for Row { metric, values } in data.result {
        let mut readings = Vec::with_capacity(values.len());
        for (time, value) in values {
            match reading(time, value, unit) {
                Ok(reading) => readings.push(reading),
                Err(reason) => *answer.refused.entry(reason).or_default() += 1,
            }
        }
        answer.series.push(Series { labels: metric, readings });
    }
    Ok(answer)
}

fn reading(time: &RawValue, value: &RawValue, unit: Unit) -> Result<(i64, u64), Reason> {
    let quoted = value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let t_ns = time_ns(time.get().as_bytes())?;
    Ok((t_ns, unit.read(quoted.ok_or(Reason::NotANumber)?.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], readings: &[(i64, u64)]) -> Series {
        let labels = labels.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect();
        Series { labels, readings: readings.to_vec() }
    }

    #[test]
    fn readings_keep_their_times_and_all_their_digits() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"cpu","domain":"it's \"my\" web"},"values":[
                [1700000000.123,"9007199.254740993"],[1700000015,"9.1e6"],[1700000030.1,"NaN"],[1700000045,7]]},
            {"metric":{},"histograms":[[1700000000,{"count":"1"}]]}]},
            "warnings":["PartialResponse: no store for dc2"],"infos":["a"]}"#;
        let answer = read(text.as_bytes(), Unit::Seconds).unwrap();
        let readings = [
            (1_700_000_000_123_000_000, 9_007_199_254_740_993),
            (1_700_000_015_000_000_000, 9_100_000_000_000_000),
        ];
        let labels = [("__name__", "cpu"), ("domain", "it's \"my\" web")];
        assert_eq!(answer.series, [series(&labels, &readings), series(&[], &[])]);
        assert_eq!(answer.warnings, ["PartialResponse: no store for dc2"]);
        assert_eq!(answer.refused, [(Reason::NotANumber, 2)].into());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| read(text.as_bytes(), Unit::Seconds).unwrap_err().to_string();
        let parse = r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error"}"#;
        assert_eq!(wrong(parse), "1:5: parse error");
        assert_eq!(wrong(r#"{"status":"error","data":null}"#), "it does not say why");
        for text in ["", "<html>", "[]", r#"{"status":"success","data":{"result":[1,"2"]}}"#] {
            assert_eq!(wrong(text), "not an answer of Prometheus", "{text}");
        }
        let empty =
            read(br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, Unit::Seconds);
        assert_eq!(empty.unwrap(), Answer::default());
    }
}
