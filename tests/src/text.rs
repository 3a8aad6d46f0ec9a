//! Text to publish: varied as real files are, and always the same.

/// `lines` lines with a newline after each: prose of many lengths, empty and repeated lines,
/// scripts of several languages, lines that look like JSON or like flags, tabs, quotes and
/// carriage returns, and every 500th line of 2 to 40 kB.
pub fn lines(lines: usize) -> String {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut text = String::new();
    for number in 0..lines {
        match number % 500 {
            0 => sentence(&mut text, &mut random, 400 + number % 6_000),
            7 | 8 | 450 => {}
            20 => text.push_str("the same line again and again"),
            33 => text.push_str("{\"command\":\"publish\",\"topic\":\"x\",\"message\":\"\\n\"}"),
            34 => text.push_str("--help -n 5 \"quoted\" 'single' \\back\\slash $HOME `id` %s\0"),
            41 => text.push_str("\tTabs\tand a carriage return at the end\r"),
            42 => text.push_str("  spaces at both ends  "),
            _ => sentence(&mut text, &mut random, 1 + number % 17),
        }
        text.push('\n');
    }
    text
}

fn sentence(text: &mut String, random: &mut Xorshift, words: usize) {
    const WORDS: [&str; 16] = [
        "tidings",
        "of",
        "comfort",
        "and",
        "joy",
        "Überraschung",
        "été",
        "новости",
        "消息",
        "خبر",
        "ニュース",
        "🗞️",
        "naïve",
        "o'clock",
        "1,024",
        "—",
    ];
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[(random.next() % 16) as usize]);
    }
}

struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
}

/// `count` bytes without structure, always the same for the same `seed`.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Xorshift(seed.wrapping_mul(2).wrapping_add(1));
    (0..count).map(|_| random.next() as u8).collect()
}
