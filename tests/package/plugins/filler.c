/* Another library that wants static thread-local storage: 64 bytes of what the C library
 * reserves. */
static _Thread_local char bytes[64] __attribute__((tls_model("initial-exec")));

int plug(void);

int plug(void)
{
    ((char volatile *)bytes)[0] = 1;
    return 0;
}
