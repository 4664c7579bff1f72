//! UF2 family ids and their short names: those of `utils/uf2families.json` of the UF2 specification, and
//! those that SDKs use beside it (`boot/uf2.h` of Raspberry Pi's pico-sdk; Espressif, Realtek, Beken).

/// The family whose blocks go where they say whatever is partitioned (pico-sdk, `ABSOLUTE_FAMILY_ID`).
pub(super) const ABSOLUTE: u32 = 0xe48b_ff57;

/// Sorted by id.
const FAMILIES: &[(u32, &str)] = &[
    (0x00ff_6919, "STM32L4"),
    (0x0424_0bdf, "STM32L5"),
    (0x06d1_097b, "STM32F411xC"),
    (0x11de_784a, "M0SENSE"),
    (0x1657_3617, "ATMEGA32"),
    (0x1851_780a, "SAML21"),
    (0x1b57_745f, "NRF52"),
    (0x1c5f_21b0, "ESP32"),
    (0x1e1f_432d, "STM32L1"),
    (0x202e_3a91, "STM32L0"),
    (0x2146_0ff0, "STM32WL"),
    (0x22e0_d6fc, "RTL8710B"),
    (0x2abc_77ec, "LPC55"),
    (0x2b88_d29c, "ESP32C2"),
    (0x2dc3_09c5, "STM32F411xE"),
    (0x300f_5633, "STM32G0"),
    (0x31d2_28c6, "GD32F350"),
    (0x3327_26f6, "ESP32H2"),
    (0x3379_cfe2, "RTL8720D"),
    (0x3d30_8e94, "ESP32P4"),
    (0x4b68_4d71, "MaixPlay-U4"),
    (0x4c71_240a, "STM32G4"),
    (0x4f6a_ce52, "CSK4"),
    (0x4fb2_d5bd, "MIMXRT10XX"),
    (0x51e9_03a8, "XR809"),
    (0x53b8_0f00, "STM32F7"),
    (0x540d_df62, "ESP32C6"),
    (0x5511_4460, "SAMD51"),
    (0x5775_5a57, "STM32F4"),
    (0x5a18_069b, "FX2"),
    (0x5d1a_0a2e, "STM32F2"),
    (0x5ee2_1072, "STM32F1"),
    (0x621e_937a, "NRF52833"),
    (0x6478_24b6, "STM32F0"),
    (0x675a_40b0, "BK7231U"),
    (0x68ed_2b88, "SAMD21"),
    (0x699b_62ec, "CH32V"),
    (0x6a82_cc42, "BK7251"),
    (0x6b84_6188, "STM32F3"),
    (0x6d09_22fa, "STM32F407"),
    (0x6db6_6082, "STM32H7"),
    (0x6e73_48a8, "CSK6"),
    (0x6f75_2678, "NRF52832xxAB"),
    (0x70d1_6653, "STM32WB"),
    (0x7272_1d4e, "NRF52832xxAA"),
    (0x77d8_50c4, "ESP32C61"),
    (0x7b3e_f230, "BK7231N"),
    (0x7be8_976d, "RA4M1"),
    (0x7eab_61ed, "ESP8266"),
    (0x7f83_e793, "KL32L2"),
    (0x8fb0_60fe, "STM32F407VG"),
    (0x9517_422f, "RZA1LU"),
    (0x9af0_3e33, "GD32VF103"),
    (0x9fff_d543, "RTL8710A"),
    (0xa0c9_7b8e, "AT32F415"),
    (0xada5_2840, "NRF52840"),
    (0xbfdd_4eee, "ESP32S2"),
    (0xc47e_5767, "ESP32S3"),
    (0xd42b_a06c, "ESP32C3"),
    (0xde12_70b7, "BL602"),
    (0xe08f_7564, "RTL8720C"),
    (0xe48b_ff56, "RP2040"),
    (ABSOLUTE, "RP2XXX_ABSOLUTE"),
    (0xe48b_ff58, "RP2XXX_DATA"),
    (0xe48b_ff59, "RP2350_ARM_S"),
    (0xe48b_ff5a, "RP2350_RISCV"),
    (0xe48b_ff5b, "RP2350_ARM_NS"),
    (0xf71c_0343, "ESP32C5"),
];

/// A family's short name, or its id in hexadecimal.
pub(super) fn name(id: u32) -> String {
    match FAMILIES.binary_search_by_key(&id, |family| family.0) {
        Ok(at) => FAMILIES[at].1.to_owned(),
        Err(_) => format!("0x{id:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_names_are_found() {
        assert!(FAMILIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(name(0xe48b_ff56), "RP2040");
        assert_eq!(name(0xada5_2840), "NRF52840");
        assert_eq!(name(0x1234_5678), "0x12345678");
    }
}
