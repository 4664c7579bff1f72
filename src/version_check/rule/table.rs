//! The table: every rule, in the order in which they are told in the documentation.

use super::{Rule, Severity};

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $(fixed $why:literal)? : $summary:literal $about:literal)+) => {
        $(
            #[doc = concat!("`", $code, "`: ", $summary, ".")]
            pub const $name: &str = $code;
        )+
        /// All rules.
        pub const ALL: &[Rule] = &[$(Rule {
            code: $code,
            severity: Severity::$severity,
            fixed: rules!(@ $($why)?),
            summary: $summary,
            about: $about,
        }),+];
    };
    (@) => { None };
    (@ $why:literal) => { Some($why) };
}

rules! {
    IMAGE_EMPTY "image-empty" Refuse fixed "there is nothing to store" :
        "the body is empty"
        "Send the image as the request's body, raw (curl: `--data-binary @FILE`)."
    IMAGE_TOO_LARGE "image-too-large" Refuse fixed "raise `max_image_bytes` instead" :
        "the image is larger than the product or the server allows"
        "The lower of the product's `max_image_bytes` and the server's `publisher.max_image_bytes` holds. This one is \
         answered with status 413."
    DIGEST_MISMATCH "digest-mismatch" Refuse fixed "what arrived is not what was sent" :
        "the bytes that arrived are not those that `Repr-Digest` declares"
        "The file was damaged on its way, or changed while it was read. Upload it again."
    HARDWARE_UNKNOWN "hardware-unknown" Refuse :
        "the product lists its hardware, and this is not in the list"
        "A misspelt hardware would be offered to nobody. Correct it, or add it to the product."
    FILE_NAME_SIMILAR "file-name-similar" Warn :
        "the file name is nearly that of an earlier release, but not quite"
        "Digits do not count, since many file names carry the version. A name that differs by one letter, by case or by \
         `-_.` from that of an earlier image for the same hardware is more often a slip than meant."
    PRODUCT_SIMILAR "product-similar" Warn :
        "a product of nearly the same name exists already"
        "Told when a product is created: `thermo-x` and `thermo_x` are two products, and devices ask for one of them."

    URL_TOO_LONG "url-too-long" Refuse fixed "change the product's `delivery` instead" :
        "the link to the image would be longer than the product's devices take"
        "The product's `delivery.url.max_length` says what they take. Compared is the link as they would get it, with its token, \
         at its longest, and the one to the backup (`backup.base_url`) where links may point there; the message has the length of the \
         longer one. Of a short link its own length counts, not that of what it leads to. Use a shorter file name, set the \
         product's `delivery.link` to `short`, or its `delivery.access` to `public`, whose links have no token."
    URL_SCHEME "url-scheme" Refuse fixed "change the product's `delivery` instead" :
        "the link to the image has a scheme that the product's devices do not speak"
        "The product's `delivery.url.scheme` says which they speak. The service's settings decide which links have: \
         `cdn.base_url`, `backup.base_url`, `device.public_url` and, for short links, `device.short_url`; a short link is \
         judged together with what it leads to."
    URL_HOST "url-host" Refuse fixed "change the product's `delivery` instead" :
        "the link to the image has a name for a host where devices take an address, or the other way round"
        "The product's `delivery.url.host` says which they take. The service's settings decide which links have, as with the \
         scheme; a device that cannot look up a name cannot follow a short link to one either, so both are judged."
    PURGE_TAG_TOO_LONG "purge-tag-too-long" Refuse fixed "the CDN would drop the tag, and serve a recalled image on" :
        "the cache tag by which the release would be purged is longer than the CDN keeps"
        "Only where the service's settings have `cdn.purge.by = \"tag\"`: `cdn.purge.object_tag` with product and version in it is \
         to have 128 characters at most. Use a shorter version, or purge by URL."
    ACCESS_UNENFORCEABLE "access-unenforceable" Refuse fixed "anybody could load the image" :
        "the product is private, and the service cannot make links that end"
        "Links end when they are presigned for the bucket, carry a token of the CDN (`[cdn.token]`), or lead to the device \
         listener. A plain CDN's do not. Also told when a product is to become private."

    VERSION_BUILD_METADATA "version-build-metadata" Refuse fixed "two such versions have the same precedence" :
        "the version has `+build`"
        "Versions that differ only in build metadata have the same precedence (SemVer 2.0, 10), so a device could not tell \
         which is newer. Publish it without; what the image says itself may carry it."
    VERSION_SPELLED_OTHERWISE "version-spelled-otherwise" Refuse :
        "another release has this version in another spelling"
        "`1.4.0-rc.1`, `1.4.0-RC.1` and `1.4.0-rc1` are three versions to SemVer and one to people. Use the spelling that is \
         there, or a higher version."
    VERSION_RECALLED "version-recalled" Refuse fixed "devices may run what was recalled, under that version" :
        "the version was recalled once"
        "A recalled version is never used again: publish a higher one."
    VERSION_NOT_NEWER "version-not-newer" Refuse fixed "devices take only higher versions; say `allow_downgrade` instead" :
        "the channel offers a higher version for that hardware"
        "Publish a higher version. To go back on purpose, say `allow_downgrade` with a `reason`: the higher ones are withdrawn \
         from the channel. To maintain an older line while a higher version is out, name it in the policy's `maintenance`: \
         the lower version then joins the channel beside the higher one and withdraws nothing. Which devices get it is \
         decided by the ladder: those that the higher version does not take (its `upgrade_from`), or that a floor holds \
         back. Devices that should stay on a line whatever happens belong on a channel of their own, such as `stable-1.2`."
    DOWNGRADE_REASON_MISSING "downgrade-reason-missing" Refuse fixed "the audit log must say why" :
        "`allow_downgrade` is said without a `reason`"
        "The reason is kept in the audit log."
    DOWNGRADE_TOO_WIDE "downgrade-too-wide" Refuse fixed "other hardware would be left without firmware" :
        "a downgrade would take firmware from hardware that the release does not serve"
        "Promote a release that has images for the same hardware."
    PRE_RELEASE_ON_CHANNEL "pre-release-on-channel" Refuse :
        "a pre-release is to be offered on a channel that does not take pre-releases"
        "The policy's `pre_release_channels` lists those that do. While it is not set, every channel takes them, and `stable` \
         with a warning."

    VERSION_MISMATCH "version-mismatch" Refuse :
        "the declared version is not the one that the image states"
        "Devices compare what they run with what is offered: an image that states another version than its release is \
         installed again and again, or never. Build it with the right version, or declare the one that it has (`firmament \
         publish` without `--version` takes it from the image). Build metadata does not count. If the image states its \
         version in another way than its format's usual one, set the policy's `version_pattern`."
    VERSION_UNREADABLE "version-unreadable" Warn :
        "the image states a version that does not read as SemVer"
        "It cannot be compared with the declared one. Set the policy's `version_pattern`, or build the image with a SemVer \
         version. Not told of formats that state no version."
    VERSION_NOT_STATED "version-not-stated" Refuse fixed "a release needs a version" :
        "no version is declared, and the image does not state a readable one soon enough"
        "When an image is posted without a version, it must state one in its first 4 MiB. Declare the version."
    FORMAT_UNEXPECTED "format-unexpected" Refuse :
        "the image is of a format that the policy's `formats` does not list"
        "Judged by content, never by file name. `firmament inspect FILE` says what a file is."
    FORMAT_CHANGED "format-changed" Warn :
        "the channel's images for that hardware were of another format up to now"
        "Fine when the build has changed on purpose; list the new format in the policy's `formats` to confirm it."
    NAME_MISMATCH "name-mismatch" Refuse :
        "the image names another product, board, chip or vendor than the policy lists"
        "Of each kind that the policy's `names` lists, the image must state at least one accepted name; for declared hardware \
         that `hardware_names` maps, one of those names. This is the rule against the wrong board's image."
    NAME_CHANGED "name-changed" Warn :
        "the image names another product or board than the channel's images for that hardware up to now"
        "List the accepted names in the policy's `names` to make this a refusal (`name-mismatch`) or to confirm the new one."
    CHIP_CHANGED "chip-changed" Refuse :
        "the image is for another chip than the channel's images of that format for that hardware up to now"
        "A board does not change its chip: this is another board's image. If one product has boards with different chips, \
         declare the hardware of each image, or list the chips in the policy's `names`."

    IMAGE_TRUNCATED "image-truncated" Refuse :
        "the image ends before the end that it states"
        "The file was cut off when it was copied or built. Build or copy it again."
    IMAGE_PADDED "image-padded" Refuse :
        "the image goes on behind the end that it states"
        "Something was appended. If your build pads images on purpose, set this rule to `warn`."
    IMAGE_DIGEST_WRONG "image-digest-wrong" Refuse :
        "a digest or checksum that the image carries is not that of its bytes"
        "The image was damaged or changed after it was built, and devices will refuse it."
    IMAGE_MALFORMED "image-malformed" Refuse :
        "the image breaks its format's rules or contradicts itself"
        "Devices may refuse it or fail on it. `firmament inspect FILE` shows what was read."
    IMAGE_OVER_SLOT "image-over-slot" Refuse :
        "the image does not fit the slot or partition that the policy names"
        "Compared is what the format says that it takes when installed, or else the file's size."

    SIGNATURE_MISSING "signature-missing" Refuse :
        "the policy demands a signature, and there is none"
        "Sign the image in its own format, or give a detached signature (`firmament publish --signature FILE`)."
    SIGNATURE_INVALID "signature-invalid" Refuse fixed "a wrong signature means a wrong image or a wrong key" :
        "a signature is not one over this image"
        "The image was changed after it was signed, or the signature belongs to another file. Detached signatures are over the \
         whole file: Ed25519 (64 bytes in base64, as `openssl pkeyutl -sign -rawin` makes them), or a minisign signature \
         file, prehashed or not. They are verified while the image streams through, whatever its size."
    SIGNATURE_KEY_UNKNOWN "signature-key-unknown" Refuse :
        "the image is signed, but by no key that the policy lists"
        "Told of detached signatures whenever the policy lists keys, and of a format's own signature when the policy demands \
         one. A certificate counts if the policy lists it, its key, or a certificate that issued it, directly or through \
         certificates that came with the signature. Its purpose is not judged, since firmware formats agree on none."
    SIGNATURE_EXPIRED "signature-expired" Warn :
        "the signer's certificate is not valid now"
        "Most devices do not look at the time, or do not know it; those that do will refuse the image."
    SIGNATURE_UNVERIFIED "signature-unverified" Warn :
        "a detached signature came with the image, and the policy lists no keys to verify it with"
        "It is handed on to devices as it is. List the keys in the policy's `keys`."

    SECURITY_COUNTER_LOWER "security-counter-lower" Refuse :
        "the image's security counter is lower than one that devices may have seen"
        "A device that ran an image with a higher counter refuses this one. Compared with all images that the channel ever \
         offered for that hardware; for a replacement, with the recalled image."
    SAME_BYTES "same-bytes" Refuse :
        "the same bytes are published as another version"
        "A forgotten version bump. If it is meant, say `allow_same_bytes`."
    STRANDS_DEVICES "strands-devices" Refuse fixed "say `allow_stranding` instead" :
        "devices on a version that the channel has offered would have no path to what it offers highest"
        "A path is what the ladder offers step by step: never over a floor, never to a release whose `upgrade_from` is higher \
         than what the device runs. The message names the version that has no way on and the step that is missing. Promote a \
         release in between, lower `upgrade_from`, or say `allow_stranding`: those devices then stay where they are."
    REPLACEMENT_UNKNOWN "replacement-unknown" Refuse fixed "devices would be sent nowhere" :
        "the replacement of a recalled release does not exist, or is that release itself"
        "Publish it first; it needs no promotion."
    REPLACEMENT_RECALLED "replacement-recalled" Refuse fixed "a recalled release is offered to nobody" :
        "the replacement of a recalled release was recalled too"
        "Name another one."
    REPLACEMENT_TOO_NARROW "replacement-too-narrow" Refuse fixed "some devices would be sent nowhere" :
        "the replacement has no image for hardware that the recalled release served"
        "Add the image to the replacement first, or name another one."
}
