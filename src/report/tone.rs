//! The colours, by what they are for. A picture has the light ones written in; where somebody prefers dark ones, a style
//! sheet puts them in their place.

/// A colour for light and one for dark surroundings, `0xRRGGBB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tone {
    light: u32,
    dark: u32,
}

const fn tone(light: u32, dark: u32) -> Tone {
    Tone { light, dark }
}

/// What everything stands on.
pub const PAPER: Tone = tone(0xFFFFFF, 0x14171A);
/// What belongs together stands on.
pub const PANEL: Tone = tone(0xF4F6F8, 0x1F252A);
/// Frames and grids.
pub const RULE: Tone = tone(0xC9D0D6, 0x3C454D);
/// What is said by the way.
pub const QUIET: Tone = tone(0x5F6B76, 0x9AA7B3);
/// Text.
pub const INK: Tone = tone(0x1B2126, 0xE8ECEF);
/// Dependencies.
pub const EDGE: Tone = tone(0x8FA1B3, 0x627688);
/// Dependencies that are direct.
pub const DIRECT: Tone = tone(0x24567F, 0x8FC1EC);

const SERIES: [Tone; 8] = [
    tone(0x0072B2, 0x5AB4F0),
    tone(0xC65100, 0xFF9A52),
    tone(0x1B7F5A, 0x4CC79A),
    tone(0xA6408C, 0xE58CCB),
    tone(0x6B5BBF, 0xB0A3FF),
    tone(0x8A6A00, 0xE0BE4A),
    tone(0xB3261E, 0xFF8A80),
    tone(0x3E6B89, 0x9CC4DE),
];

/// The colour of the `i`-th of several things; after eight they come again.
pub fn series(i: usize) -> Tone {
    SERIES[i % SERIES.len()]
}

impl Tone {
    /// Red, green and blue, in light surroundings.
    pub fn rgb(self) -> (u8, u8, u8) {
        let [_, red, green, blue] = self.light.to_be_bytes();
        (red, green, blue)
    }

    /// `#RRGGBB`, in light surroundings.
    pub fn hex(self) -> String {
        format!("#{:06X}", self.light)
    }
}

/// A style sheet that makes pictures dark for those who prefer that.
pub fn dark() -> String {
    let all = [PAPER, PANEL, RULE, QUIET, INK, EDGE, DIRECT].into_iter().chain(SERIES);
    let rule = |Tone { light, dark }| {
        format!(
            "[fill=\"#{light:06X}\"]{{fill:#{dark:06X}}}[stroke=\"#{light:06X}\"]{{stroke:#{dark:06X}}}\n"
        )
    };
    format!("@media (prefers-color-scheme:dark){{\n{}}}\n", all.map(rule).collect::<String>())
}
