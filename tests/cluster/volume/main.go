// The helper that local-path-provisioner runs in a pod on the node to make and to delete a volume's
// directory. Upstream's scripts need a shell; this needs nothing else in its image.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Getenv("VOL_DIR"), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The provisioner ends its arguments with "-a create" or "-a delete".
func run(directory string, args []string) error {
	if !filepath.IsAbs(directory) || filepath.Dir(directory) == "/" {
		return fmt.Errorf("VOL_DIR %q is not a directory below the volumes' root", directory)
	}
	switch action := args[len(args)-1]; action {
	case "create":
		if err := os.MkdirAll(directory, 0o777); err != nil {
			return err
		}
		// Pods of any user write here; Mkdir's mode was narrowed by the umask.
		return os.Chmod(directory, 0o777)
	case "delete":
		return os.RemoveAll(directory)
	default:
		return fmt.Errorf("action %q is neither create nor delete", action)
	}
}
