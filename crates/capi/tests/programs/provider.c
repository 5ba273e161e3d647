// A library that gives code a function; its value is the build's.

long provided(void) { return VALUE; }
