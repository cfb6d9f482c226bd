//! What the lock reports to `tracing`, with the feature of that name: one event each when a request
//! has to wait, when it is granted and when it leaves. Never under the mutex, and never a span.

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
