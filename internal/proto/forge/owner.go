package forge

import (
	"fmt"
	"os/user"
	"strconv"
)

// OwnerUID is the uid of the user, by name or number, who must listen where the forge is.
// Names are those of /etc/passwd; the error says what would be right.
func OwnerUID(name string) (uint32, error) {
	number := name
	if u, err := user.Lookup(name); err == nil {
		number = u.Uid
	}
	uid, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q in /etc/passwd; want a name from there, or a uid", name)
	}
	return uint32(uid), nil
}
