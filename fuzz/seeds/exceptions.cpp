// Groups, vtables, typeinfo, landing pads.
struct base {
    virtual ~base() {}
    virtual int get(int n) { if (n > 5) throw n; return n; }
};
template <typename T> struct holder { static inline T value = T(); };
extern "C" int test(int n) {
    base object;
    try { return object.get(n) + holder<int>::value++; } catch (int caught) { return caught; }
}
