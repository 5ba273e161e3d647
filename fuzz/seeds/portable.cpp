// Unwind tables, personalities, weak data and virtual tables, without headers.
struct Base {
    virtual ~Base() {}
    virtual int get(int n)
    {
        if (n > 5)
            throw n;
        return n;
    }
};

struct Other : Base {
    int more;
    int get(int n) override { return more + Base::get(n); }
};

static Other object;

inline int &counter()
{
    static int value = (int)(long)&object;
    return value;
}

extern "C" int test(int n)
{
    Base *base = &object;
    try {
        return base->get(n) + counter()++;
    } catch (int caught) {
        return caught;
    }
}
