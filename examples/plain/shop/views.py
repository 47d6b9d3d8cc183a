from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from .models import Order


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        Order.objects.create(user=request.user)
        return redirect("orders")
    return render(request, "orders.html", {"orders": Order.objects.filter(user=request.user)})


@login_required
@require_POST
def ship(request: HttpRequest, pk: int) -> HttpResponse:
    get_object_or_404(Order, pk=pk, user=request.user).ship()
    return redirect("orders")
