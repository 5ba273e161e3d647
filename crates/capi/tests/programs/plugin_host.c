// Opens a library that uses the cache, uses it, and closes it again, several times: `plugin_host LIBRARY FOLDER`.

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int main(int count, char **arguments) {
    int hits = 0;
    if (count != 3) return 2;
    for (int round = 0; round < 3; round++) {
        void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        long (*run)(const char *, int *) = (long (*)(const char *, int *))(uintptr_t)dlsym(library, "plugin_run");
        if (run == NULL || run(arguments[2], &hits) != 41) return 1;
        // What runs in the background, and the code that was loaded, has to bear this.
        if (dlclose(library) != 0) return 1;
    }
    printf("%d hits\n", hits);
    return 0;
}
