package backend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// searchEngine is a server inside the runner of CodeLibs, since the server's own main refuses to be root.
func searchEngine(name, properties, runner string, args ...string) kind {
	return kind{
		name: name,
		// The runner takes no port for HTTP above 9299, and adds the number of the node to the one it is told.
		ports:    append([]span{{9201, 9300}}, usual(1)...),
		patience: 3 * time.Minute,
		find:     jars(name),
		prepare: func(_ context.Context, p *place) error {
			return configureSearchEngine(p, name)
		},
		command: func(p *place) []string {
			return jvm(p, name, append([]string{
				"-D" + properties + ".set.netty.runtime.available.processors=false", runner,
				"-basePath", p.dir, "-confPath", p.dir + "/config", "-clusterName", clusterName(p),
				"-numOfNode", "1", "-baseHttpPort", strconv.Itoa(p.ports[0].number - 1), "-printOnFailure",
			}, args...)...)
		},
		ready: func(ctx context.Context, p *place) error {
			// Elected, and ours: where a port is taken, the runner goes on to the next.
			return probeHTTP(ctx, "http://"+p.addr(0)+"/_cluster/health?wait_for_status=yellow&timeout=1s",
				`"`+clusterName(p)+`"`)
		},
		describe: httpURL,
	}
}

func clusterName(p *place) string { return filepath.Base(p.dir) }

func configureSearchEngine(p *place, name string) error {
	if err := os.Mkdir(filepath.Join(p.dir, "config"), 0o700); err != nil {
		return fmt.Errorf("make the directory of the configuration: %w", err)
	}
	if err := writeConfig(p, "config/"+name+".yml",
		"network.host: 127.0.0.1",
		"transport.port: "+p.port(1),
		"discovery.type: single-node",
		// A disk that is nearly full is not a concern of a test.
		"cluster.routing.allocation.disk.threshold_enabled: false",
	); err != nil {
		return err
	}
	return writeConfig(p, "config/log4j2.properties",
		"status = error",
		"appender.out.type = Console",
		"appender.out.name = out",
		"appender.out.layout.type = PatternLayout",
		"appender.out.layout.pattern = %p %c{1} %m%n",
		"rootLogger.level = warn",
		"rootLogger.appenderRef.out.ref = out",
	)
}
