// pull makes containerd fetch images as the kubelet would, so that a pushed image is on the node
// before a pod asks for it, even under imagePullPolicy IfNotPresent. (ctr pulls too, but keeps the
// compressed layers, and the kubelet would not see the image as its own.)
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: pull ENDPOINT IMAGE...")
		os.Exit(2)
	}
	if err := pull(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pull(ctx context.Context, endpoint string, images []string) error {
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := runtime.NewImageServiceClient(connection)
	for _, image := range images {
		request := &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}}
		if _, err := client.PullImage(ctx, request); err != nil {
			return fmt.Errorf("pull %s: %w", image, err)
		}
	}
	return nil
}
