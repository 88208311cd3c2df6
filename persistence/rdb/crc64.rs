//! CRC-64 as Redis uses it: Jones polynomial, reflected, initial value and final xor 0.

/// 0xad93d23594c935a9 with its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// `TABLES[k][b]`: the checksum of byte `b` followed by `k` zero bytes.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u64 = tables[zeros - 1][byte];
            tables[zeros][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// Continues the checksum `crc` (0 at the start) over `data`.
pub fn crc64(mut crc: u64, data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks::<8>();
    for block in blocks {
        let bytes = (crc ^ u64::from_le_bytes(*block)).to_le_bytes();
        crc = 0;
        for (i, byte) in bytes.iter().enumerate() {
            crc ^= TABLES[7 - i][*byte as usize];
        }
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc as u8) ^ byte) as usize];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::crc64;

    #[test]
    fn the_check_value_holds_however_the_input_is_cut() {
        let input = b"This is a test of the emergency broadcast system.";
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        for cut in 0..input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(crc64(crc64(0, a), b), crc64(0, input));
        }
    }
}
