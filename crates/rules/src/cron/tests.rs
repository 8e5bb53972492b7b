use super::*;

/// 2023-11-14, 22:13:20, a Tuesday.
const T: u64 = 1_700_000_000_000;

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Gives a time as `YYYY-MM-DD hh:mm:ss`.
fn show(unix_ms: u64) -> String {
    assert_eq!(unix_ms % 1000, 0);
    let (day, time) = (unix_ms / 1000 / DAY_SECONDS, unix_ms / 1000 % DAY_SECONDS);
    let (mut year, mut first) = (1970, 0);
    while first + 365 + u64::from(leap(year)) <= day {
        first += 365 + u64::from(leap(year));
        year += 1;
    }
    let (month, day_of_month) = month_and_day(day);
    format!("{year}-{month:02}-{day_of_month:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

#[test]
fn next_firings() {
    for (text, first, second) in [
        ("* * * * *", "2023-11-14 22:14:00", "2023-11-14 22:15:00"),
        ("* * * * * *", "2023-11-14 22:13:21", "2023-11-14 22:13:22"),
        ("*/20 * * * * *", "2023-11-14 22:13:40", "2023-11-14 22:14:00"),
        ("0 9 * * MON-FRI", "2023-11-15 09:00:00", "2023-11-16 09:00:00"),
        ("0 0 1 jan *", "2024-01-01 00:00:00", "2025-01-01 00:00:00"),
        ("30 23 * * 0", "2023-11-19 23:30:00", "2023-11-26 23:30:00"),
        ("30 23 * * 7", "2023-11-19 23:30:00", "2023-11-26 23:30:00"),
        ("0 12 * * fri-sun", "2023-11-17 12:00:00", "2023-11-18 12:00:00"),
        ("0 0 13 * 5", "2023-11-17 00:00:00", "2023-11-24 00:00:00"),
        ("15,45 */6 * * *", "2023-11-15 00:15:00", "2023-11-15 00:45:00"),
        ("10/25 22 * * *", "2023-11-14 22:35:00", "2023-11-15 22:10:00"),
        ("0 0 29 2 *", "2024-02-29 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 31 * *", "2023-12-31 00:00:00", "2024-01-31 00:00:00"),
        ("59 59 23 31 12 *", "2023-12-31 23:59:59", "2024-12-31 23:59:59"),
    ] {
        let cron = Cron::parse(text).expect(text);
        let next = cron.next_after(T).expect(text);
        assert_eq!((show(next).as_str(), cron.text()), (first, text));
        assert_eq!(show(cron.next_after(next).expect(text)), second, "{text}");
    }
}

#[test]
fn a_firing_is_strictly_later() {
    let cron = Cron::parse("* * * * * *").expect("valid");
    assert_eq!(cron.next_after(0), Some(1000));
    assert_eq!(cron.next_after(999), Some(1000));
    assert_eq!(cron.next_after(1000), Some(2000));
    assert_eq!(cron.next_after(u64::MAX), None);
}

#[test]
fn leap_days_around_a_century_that_is_none() {
    let cron = Cron::parse("0 0 29 2 *").expect("valid");
    let in_2096 = 3_981_225_600_000;
    assert_eq!(show(in_2096), "2096-02-28 00:00:00");
    let leap = cron.next_after(in_2096).expect("soon");
    assert_eq!(show(leap), "2096-02-29 00:00:00");
    assert_eq!(show(cron.next_after(leap).expect("in eight years")), "2104-02-29 00:00:00");
}

#[test]
fn what_is_no_cron_expression() {
    for text in [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * 0 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1, * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "* * * FEBRUARY *",
        "@hourly",
        "? * * * *",
        "*-5 * * * *",
        "1-2-3 * * * *",
        "1//2 * * * *",
    ] {
        assert_eq!(Cron::parse(text).err(), Some(CronError::Syntax), "{text}");
    }
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        assert_eq!(Cron::parse(text).err(), Some(CronError::NoSuchDay), "{text}");
    }
    assert!(Cron::parse("0 0 30 2 MON").is_ok());
}

#[test]
fn month_and_day_agree_with_counting() {
    let lengths = |year: u64| {
        let leap = leap(year);
        [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    };
    let mut day = 0;
    for year in 1970..2410 {
        for (month, length) in (1..).zip(lengths(year)) {
            for day_of_month in 1..=length {
                assert_eq!(month_and_day(day), (month, day_of_month));
                day += 1;
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn parsing_and_searching_never_panic(text in "[0-9*/,a-zA-Z -]{0,20}", now in 0..u64::MAX) {
        if let Ok(cron) = Cron::parse(&text) {
            proptest::prop_assert!(cron.next_after(now).is_none_or(|next| next > now));
        }
    }

    #[test]
    fn the_next_firing_is_the_first_second_that_matches(
        fields in proptest::collection::vec("\\*|\\*/[1-9]|[1-9]|[1-4]-[5-9]", 5),
        now in T / 1000..T / 1000 + 100_000_000,
    ) {
        let cron = Cron::parse(&fields.join(" "));
        proptest::prop_assume!(cron.is_ok());
        let cron = cron.expect("assumed");
        let next = cron.next_after(now * 1000).expect("in range") / 1000;
        let fires = |second: u64| {
            let time = second % DAY_SECONDS;
            time.is_multiple_of(60)
                && cron.fires_on(second / DAY_SECONDS)
                && holds(cron.hours, time / 3600)
                && holds(cron.minutes, time / 60 % 60)
        };
        proptest::prop_assert!(fires(next));
        let minutes = (now / 60 + 1..next / 60).take(100_000);
        proptest::prop_assert!(minutes.into_iter().all(|minute| !fires(minute * 60)));
    }
}
