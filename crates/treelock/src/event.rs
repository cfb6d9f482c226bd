//! What the lock tells `tracing`, with the feature of that name: an event when a request has to wait,
//! when it has its lock, and when it leaves. Never under the mutex, never a span.

#[cfg(feature = "tracing")]
macro_rules! event {
    ($name:ident, $level:ident) => {
        pub(crate) fn $name(request: &crate::request::Request) {
            tracing::event!(
                target: "treelock",
                tracing::Level::$level,
                label = request.label(),
                roots = %request,
                stringify!($name),
            );
        }
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($name:ident, $level:ident) => {
        #[inline(always)]
        pub(crate) fn $name(_: &crate::request::Request) {}
    };
}

event!(waiting, DEBUG);
event!(granted, TRACE);
event!(released, TRACE);
