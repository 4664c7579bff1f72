//! The OpenAPI documents are what clients are built on: a change of theirs is seen in review.
//!
//! After an intended change: `INSTA_UPDATE=always tests/run openapi`, and commit the new snapshot.

use firmament::http::{device, publisher};

#[test]
fn the_publisher_document_is_as_committed() {
    insta::assert_json_snapshot!("publisher", publisher::openapi());
}

#[test]
fn the_device_document_is_as_committed() {
    insta::assert_json_snapshot!("device", device::openapi());
}

#[test]
fn every_error_is_a_problem_document() {
    for document in [publisher::openapi(), device::openapi()] {
        let document = serde_json::to_value(document).expect("is JSON");
        let paths = document["paths"].as_object().expect("has paths");
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().expect("an object") {
                for (status, response) in operation["responses"].as_object().expect("has responses") {
                    let without = status == "503";
                    if without || !(status.starts_with('4') || status.starts_with('5')) {
                        continue;
                    }
                    let content = &response["content"]["application/problem+json"];
                    assert!(content.is_object(), "{method} {path} {status} has no problem document");
                }
            }
        }
    }
}
