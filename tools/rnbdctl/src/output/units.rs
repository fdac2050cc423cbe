// SPDX-License-Identifier: GPL-2.0-only

//! Numbers with units.

/// Prints a number of bytes with a binary unit and up to one decimal place.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    let mut tenths = u128::from(bytes) * 10;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");

    while tenths >= 10240 {
        let Some(next) = units.next() else { break };

        tenths = (tenths + 512) / 1024;
        unit = next;
    }
    decimal(tenths, unit)
}

/// Prints a number of nanoseconds with a unit and up to one decimal place.
pub(crate) fn duration(ns: u64) -> String {
    let (unit, divisor) = match ns {
        0..1_000 => ("ns", 1),
        1_000..1_000_000 => ("us", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };

    decimal((u128::from(ns) * 10 + divisor / 2) / divisor, unit)
}

/// Prints a number of tenths.
fn decimal(tenths: u128, unit: &str) -> String {
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (number, text) in [
            (0, "0 B"),
            (512, "512 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (16 << 20, "16 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn times() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1024, "1 us"),
            (12_345, "12.3 us"),
            (1_500_000, "1.5 ms"),
            (90_000_000_000, "90 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }
}
