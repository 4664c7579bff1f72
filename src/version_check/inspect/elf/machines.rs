//! Machine numbers (`e_machine`), those that firmware is built for.

const MACHINES: &[(u64, &str)] = &[
    (2, "SPARC"),
    (3, "x86"),
    (4, "m68k"),
    (8, "MIPS"),
    (15, "PA-RISC"),
    (20, "PowerPC"),
    (21, "PowerPC64"),
    (22, "S/390"),
    (36, "V800"),
    (40, "ARM"),
    (42, "SuperH"),
    (43, "SPARC V9"),
    (44, "TriCore"),
    (45, "ARC"),
    (46, "H8/300"),
    (50, "IA-64"),
    (52, "ColdFire"),
    (53, "68HC12"),
    (62, "x86-64"),
    (70, "68HC11"),
    (83, "AVR"),
    (87, "V850"),
    (88, "M32R"),
    (92, "OpenRISC"),
    (93, "ARCompact"),
    (94, "Xtensa"),
    (105, "MSP430"),
    (106, "Blackfin"),
    (113, "Nios II"),
    (115, "XGATE"),
    (116, "C166"),
    (117, "M16C"),
    (118, "dsPIC30F"),
    (120, "M32C"),
    (138, "LatticeMico32"),
    (140, "TI C6000"),
    (141, "TI C2000"),
    (142, "TI C5500"),
    (144, "TI PRU"),
    (164, "Hexagon"),
    (165, "8051"),
    (167, "NDS32"),
    (173, "RX"),
    (183, "AArch64"),
    (185, "AVR32"),
    (186, "STM8"),
    (189, "MicroBlaze"),
    (195, "ARCv2"),
    (197, "RL78"),
    (204, "PIC"),
    (220, "Z80"),
    (223, "Moxie"),
    (243, "RISC-V"),
    (247, "BPF"),
    (252, "C-SKY"),
    (258, "LoongArch"),
];

/// A machine's name, or its number.
pub(super) fn name(machine: u64) -> String {
    match MACHINES.binary_search_by_key(&machine, |known| known.0) {
        Ok(at) => MACHINES[at].1.to_owned(),
        Err(_) => format!("machine {machine}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_names_are_found() {
        assert!(MACHINES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(name(40), "ARM");
        assert_eq!(name(65535), "machine 65535");
    }
}
