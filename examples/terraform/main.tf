# Builds an image with Drydock: `drydock daemon` first, then `terraform init && terraform apply`.
terraform {
  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = "3.0.2"
    }
  }
}

provider "docker" {
  host = "unix:///run/drydock/docker.sock"
}

resource "docker_image" "hello" {
  name = "hello:1"
  build {
    context = "${path.module}/context"
  }
}

output "id" {
  value = docker_image.hello.image_id
}
