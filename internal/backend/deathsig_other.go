//go:build !linux

package backend

import "syscall"

// Only Linux can tie a child to its parent; elsewhere a killed test binary leaves its servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
