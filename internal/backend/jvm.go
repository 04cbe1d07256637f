package backend

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// jars finds a Java program for the server whose jars install.sh has put into the cache.
func jars(name string) func() (string, bool) {
	return func() (string, bool) {
		if found, err := filepath.Glob(filepath.Join(cacheDir(), name, "*.jar")); err != nil || len(found) == 0 {
			return "", false
		}
		return java()
	}
}

// java prefers 17: Cassandra needs what later releases have removed, and no server here needs a later one.
func java() (string, bool) {
	if found, err := filepath.Glob("/usr/lib/jvm/java-17-*/bin/java"); err == nil && len(found) > 0 {
		return found[0], true
	}
	return program("java")()
}

// jvm returns a command line of the server's jars. The compiler and the collector are those that make a short
// life on a small machine quick, and what the JVM unpacks goes the way of the server's directory.
func jvm(p *place, name string, args ...string) []string {
	return slices.Concat([]string{
		p.bin, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData",
		"-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-Djava.io.tmpdir=" + p.dir,
		"-cp", filepath.Join(cacheDir(), name, "*"),
	}, args)
}

// writeConfig writes a file into the server's directory.
func writeConfig(p *place, name string, lines ...string) error {
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
