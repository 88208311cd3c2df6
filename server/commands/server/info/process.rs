//! What the operating system knows of this process.

use super::Text;
use crate::state::Server;

/// Bytes with a unit, as INFO shows them: `1.50M`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// Bytes of this process in RAM; 0 where that can't be told.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    // SAFETY: sysconf only reads a setting.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * page.max(0) as u64
}

/// Bytes of RAM of the machine.
pub fn system_bytes() -> u64 {
    // SAFETY: sysconf only reads settings.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    pages.max(0) as u64 * page.max(0) as u64
}

/// Name, release and machine of the operating system.
pub fn system_name() -> String {
    // SAFETY: uname fills the struct with strings that end in a zero byte.
    let name = unsafe {
        let mut name = std::mem::zeroed::<libc::utsname>();
        libc::uname(&raw mut name);
        name
    };
    let text = |field: &[libc::c_char]| -> String {
        let bytes = field.iter().take_while(|&&byte| byte != 0);
        bytes.map(|&byte| char::from(byte as u8)).collect()
    };
    format!(
        "{} {} {}",
        text(&name.sysname),
        text(&name.release),
        text(&name.machine)
    )
}

fn usage(of: libc::c_int) -> (f64, f64) {
    // SAFETY: getrusage fills the struct that is passed.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(of, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_stime), seconds(usage.ru_utime))
}

/// The section `cpu`.
pub fn cpu(_: &Server, text: &mut Text) {
    let (system, user) = usage(libc::RUSAGE_SELF);
    text.field("used_cpu_sys", format_args!("{system:.6}"));
    text.field("used_cpu_user", format_args!("{user:.6}"));
    let (system, user) = usage(libc::RUSAGE_CHILDREN);
    text.field("used_cpu_sys_children", format_args!("{system:.6}"));
    text.field("used_cpu_user_children", format_args!("{user:.6}"));
    let (system, user) = usage(libc::RUSAGE_THREAD);
    text.field("used_cpu_sys_main_thread", format_args!("{system:.6}"));
    text.field("used_cpu_user_main_thread", format_args!("{user:.6}"));
    let active = system + user;
    text.field("used_active_time_main_thread", format_args!("{active:.6}"));
}
