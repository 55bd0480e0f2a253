//! [`Artifacts`].

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Outcome, assert_not_found, fresh};
use crate::ports::Artifacts;

/// Put and get; known bytes again; none, many; names that are no digests.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn artifacts(port: &dyn Artifacts) -> Outcome {
    let abc = port.put(Bytes::from_static(b"abc")).await?;
    assert_eq!(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(port.get(&abc).await?, "abc");
    assert_eq!(port.put(Bytes::from_static(b"abc")).await?, abc);
    assert_eq!(port.get(&abc).await?, "abc");

    let large: Vec<u8> = (0..3_000_001_u32).map(|number| number.to_le_bytes()[0]).collect();
    for bytes in [Bytes::new(), Bytes::from_static(b"\0"), Bytes::from(large)] {
        let sha256 = port.put(bytes.clone()).await?;
        assert_eq!(port.get(&sha256).await?, bytes);
    }

    let absent = "0".repeat(64);
    let upper = abc.to_uppercase();
    for name in [absent.as_str(), &upper, "", "ab", "../../../etc/passwd", &"é".repeat(32)] {
        assert_not_found(port.get(name).await);
    }
    Ok(())
}

/// Many put and get the same bytes at once, through two doors.
///
/// # Errors
/// What a call failed with that should not have.
pub async fn artifacts_by_two(first: &dyn Artifacts, second: &dyn Artifacts) -> Outcome {
    let bytes = Bytes::from(fresh("contested").repeat(10_000));
    let tries = (0..12).map(|number| {
        let port = if number % 2 == 0 { first } else { second };
        let bytes = bytes.clone();
        async move {
            let sha256 = port.put(bytes).await?;
            port.get(&sha256).await
        }
    });
    for outcome in join_all(tries).await {
        assert_eq!(outcome?, bytes);
    }
    Ok(())
}
